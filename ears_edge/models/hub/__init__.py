"""The hub that models are pulled from. The only folder that imports huggingface_hub and httpx2.

Importing them takes a third of a second, so only a pull does.
"""
