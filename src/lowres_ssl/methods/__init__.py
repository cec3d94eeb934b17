"""Self-supervised methods: one file a method, found by its name; `base` says what a method may do."""
