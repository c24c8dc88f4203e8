"""`make bench-lmdb`: writing and reading LMDBs against Caffe's own convert_imageset and the disk."""
