"""Whether the Python packages that a network with CRF-RNN needs are installed."""

from importlib.util import find_spec

from tools.support.errors import UserError


def check_packages(net_param) -> None:
    """UserError if a layer of a NetParameter is one of tools.crf_rnn, and what it imports is not there."""
    modules = {layer.python_param.module for layer in net_param.layer if layer.type == 'Python'}
    if 'tools.crf_rnn.layers' in modules and find_spec('numba') is None:
        raise UserError('CRF-RNN needs Python packages that are not installed; run: make crf-packages')
