"""Pictures: arrays in, pictures out."""
