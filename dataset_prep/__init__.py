"""Prepares data sets, as their owners distribute them, as LMDBs that stock Caffe trains on."""

from tools.support.bootstrap import begin_module

begin_module()
