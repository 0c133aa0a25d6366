"""The NumPy reference: the answer that everything is judged by, itself checked against the original Caffe."""
