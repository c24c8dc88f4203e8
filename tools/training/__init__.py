"""Training with the stock program `caffe train`: checks before, the watch during, and what is kept after."""
