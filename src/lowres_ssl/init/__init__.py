"""Inspect a folder of images and write a config for it."""
