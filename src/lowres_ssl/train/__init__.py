"""Train an encoder: the loop and its parts."""
