"""Define, load and check the config of every command."""
