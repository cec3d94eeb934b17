"""Data sets of one's own: what `lowres-ssl init` sees in a folder, guesses of it, and writes down."""
