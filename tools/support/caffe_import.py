"""The import of the Python package `caffe`, quiet, and with a clear word when it is not there."""

import os
from types import ModuleType

from tools.support.errors import UserError


def import_caffe() -> ModuleType:
    """The module `caffe` of the reference framework, logging warnings and errors only (GLOG_minloglevel overrides)."""
    os.environ.setdefault('GLOG_minloglevel', '2')
    try:
        import caffe
        from caffe.proto import caffe_pb2
    except ImportError as error:
        raise UserError(f'the Python package caffe does not import ({error}); run: make caffe') from error
    # If pretrained.caffemodel.caffe_pb2() loaded the classes before, the import finds them but does not name them in the package.
    caffe.proto.caffe_pb2 = caffe_pb2
    return caffe
