"""Read, write, find and compare stored runs and results."""
