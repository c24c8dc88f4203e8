"""`make bench-gpu`: Caffe and PyTorch on the same GPU with the same networks, time and memory."""
