"""A Caffe checkpoint fine-tuned on classes of one's own in three frameworks, on one device or several.

From the folder examples:

    python -m finetune.pretrain first.caffemodel
    python -m finetune.torch_finetune first.caffemodel tuned.safetensors
    senet convert tuned.safetensors tuned.caffemodel
    senet compare tuned.caffemodel
"""
