"""A trained network made into another one."""
