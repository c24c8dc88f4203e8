"""The paper's networks and solvers, generated with Caffe's own NetSpec."""
