"""Make augmented views of a batch: uint8 images in, float views out."""
