"""Files that can be trusted: written whole, sealed, versioned, leased, tidied up after a kill."""
