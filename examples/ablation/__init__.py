"""Small networks with other SE blocks, trained on handwritten digits in three frameworks: the same curves in all."""
