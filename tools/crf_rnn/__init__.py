"""CRF-RNN (Zheng et al. 2015) for stock Caffe: two Python layers, and the filtering under them."""
