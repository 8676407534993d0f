"""`ears-edge bench`: how fast, how many at once, how much memory, how many wrong words."""
