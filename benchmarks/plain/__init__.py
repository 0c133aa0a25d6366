"""SE-ResNet-50 as one writes it in each framework, without this project: what the networks here are timed against."""
