"""CRF-RNN (Zheng et al. 2015) for stock Caffe: a Python layer, and the filtering under it. tools/crf_rnn/README.md."""
