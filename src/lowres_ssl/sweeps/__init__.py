"""Many jobs of one command: what each leaves for the sweep's end, and what is said there."""
