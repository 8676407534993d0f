"""Protocol codecs, sans-I/O: bytes and text on one side, values on the other."""
