"""A Caffe checkpoint fine-tuned on classes of one's own in three frameworks, on one device or several."""
