"""The paper's networks and solvers, generated with Caffe's own NetSpec."""

from tools.support.bootstrap import begin_module

begin_module()
