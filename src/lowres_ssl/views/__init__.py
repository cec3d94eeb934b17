"""Batched augmentation: uint8 images in, float views out. Never sees a label."""
