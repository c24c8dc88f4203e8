"""Imports the Python package `caffe`, with quiet logging and a clear error if it is missing."""

import ctypes
import os
import re
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import ModuleType

from tools.support.caffe_in_use import log_errors_only
from tools.support.cpu_engine import warn_of_missing_engine
from tools.support.errors import UserError


def import_caffe() -> ModuleType:
    """The module `caffe`. It logs errors only; GLOG_minloglevel overrides that.

    Raises UserError if there is no such module, or if Caffe does not know the value of CAFFE_ENGINE.
    """
    log_errors_only()
    warn_of_missing_engine()
    try:
        import caffe
        from caffe.proto import caffe_pb2
    except ImportError as error:
        raise UserError(f'the Python package caffe does not import ({error}); run: make caffe') from error
    # If pretrained.caffemodel.caffe_pb2() has loaded the classes before, the import does not set this attribute.
    caffe.proto.caffe_pb2 = caffe_pb2
    _exit_instead_of_abort()
    return caffe


def net_of(message, phase: str = 'test'):
    """A caffe.Net from a NetParameter, in `phase` 'train' or 'test', through a temporary file: Caffe only reads files."""
    from google.protobuf import text_format  # comes with Caffe

    caffe = import_caffe()
    with NamedTemporaryFile('w', suffix='.prototxt') as file:
        file.write(text_format.MessageToString(message))
        file.flush()
        return caffe.Net(file.name, caffe.TRAIN if phase == 'train' else caffe.TEST)


@ctypes.CFUNCTYPE(None)
def _ended() -> None:
    """Ends the process after a failed check of Caffe, in place of abort()."""
    print('error: Caffe stopped; the failed check is named above', file=sys.stderr, flush=True)
    os._exit(1)


def _exit_instead_of_abort() -> None:
    """Make a failed check of Caffe, such as a full GPU, end the process with a line and status 1 instead of abort()."""
    loaded = re.search(r'\S*/libglog\.so\S*', Path('/proc/self/maps').read_text())
    if loaded:
        ctypes.CDLL(loaded[0])['_ZN6google22InstallFailureFunctionEPFvvE'](_ended)
