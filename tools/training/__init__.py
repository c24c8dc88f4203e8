"""Training with the stock program `caffe train`: what is checked before, watched during, and kept after."""
