"""What is typed and what is said of it: overrides, completion, did-you-mean, failures in one line."""
