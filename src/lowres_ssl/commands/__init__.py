"""Hold one module a command; each composes the layers below it."""
