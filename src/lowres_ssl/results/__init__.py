"""Stored results and what may be said of them together: found, chosen, compared, tidied. Knows no torch."""
