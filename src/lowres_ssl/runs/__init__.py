"""Read, write, find and compare stored runs and results. Imports no torch."""
