"""What each command's config may hold, a file a family of commands. No I/O, no checks."""
