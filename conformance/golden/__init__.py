"""Answers of the reference that are kept in a file, for years."""
