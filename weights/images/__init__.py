"""From photographs to inputs, and the names of the classes."""
