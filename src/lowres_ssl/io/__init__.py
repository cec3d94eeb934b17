"""Write files whole, lock them, and notice when they are damaged."""
