"""The explorer: finished runs as one page for a class, with their networks in it."""
