"""SE-ResNet a fourth way, as plain JAX functions, and how the suite judges it."""
