"""What every room of the toolkit needs: errors, paths, whole-or-nothing files, the import of Caffe."""
