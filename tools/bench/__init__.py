"""`make bench`: prediction and scoring beside the authors' procedure, PyTorch and Cityscapes' own evaluator."""
