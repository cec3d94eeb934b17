"""Run the command line: dispatch, exit codes, shell completion."""
