"""What frameworks and other projects call the parameters."""
