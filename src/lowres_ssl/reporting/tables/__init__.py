"""Build and format tables of stored results."""
