"""Build encoders and read and write their weights."""
