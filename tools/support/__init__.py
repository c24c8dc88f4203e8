"""What every part of the toolkit needs: errors, paths, whole-or-nothing files, the import of Caffe."""
