"""Collect what the jobs of a sweep leave for its end."""
