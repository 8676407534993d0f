"""Signal processing: features and voice activity. Pure."""
