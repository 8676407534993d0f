"""The acoustic model: ONNX sessions, TDT decoding, tokens to words."""
