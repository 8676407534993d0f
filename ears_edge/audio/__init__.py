"""Audio at the door: bytes of any format to mono float32 at 16 kHz."""
