"""A family that is not of the project, added as docs/adding-a-network.md says: one file in each package."""
