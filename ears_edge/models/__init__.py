"""Models as folders of files: where they lie, what is in them, who made them."""
