"""Caffe's files: bytes to layers, layers to networks, and the way back."""
