"""One module a command: each composes the layers below it. `main(cfg)` is what the dispatcher calls."""
