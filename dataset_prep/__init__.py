"""From data sets as their owners distribute them to LMDBs that stock Caffe trains on."""
