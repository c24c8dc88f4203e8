"""Training with the stock program `caffe train`: checks before it, supervision during it, and what a run keeps."""
