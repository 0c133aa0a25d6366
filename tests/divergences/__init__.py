"""Where Caffe and the frameworks differ: entries as data, and a demonstration of each in the frameworks themselves."""
