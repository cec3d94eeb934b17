"""Self-supervised methods: one file a method, found by its name; `base` defines what a method may do."""
