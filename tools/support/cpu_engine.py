"""The engine of convolutions on a CPU, which the variable CAFFE_ENGINE chooses: Caffe's own, or oneDNN.

`python -m tools.support.cpu_engine` prints the engine in use and those that can be had here. If the one asked for is not used, it
says why.
"""

import os
import sys

from tools.support.blas_in_use import caffe_library
from tools.support.errors import UserError

VARIABLE = 'CAFFE_ENGINE'
OWN, ONEDNN, ONEDNN_BF16 = 'caffe', 'onednn', 'onednn-bf16'
_BF16_ISA = 0xE7  # dnnl_cpu_isa_avx512_core_bf16 in oneDNN's dnnl_types.h
_SAID = 'DILATION_TOOLKIT_ENGINE_SAID'  # set after the warning, so that child processes do not repeat it


def asked_engine() -> str:
    """The engine that CAFFE_ENGINE asks for. Raises UserError if Caffe does not know its value."""
    asked = os.environ.get(VARIABLE) or OWN
    if asked not in (OWN, ONEDNN, ONEDNN_BF16):
        raise UserError(f'{VARIABLE}={asked}: write {OWN}, {ONEDNN} or {ONEDNN_BF16}')
    return asked


def fault_of(engine: str) -> str:
    """Why Caffe uses its own convolutions when it is asked for `engine`; empty if it uses `engine`."""
    if engine == OWN:
        return ''
    loaded = caffe_library()
    if loaded is None or not hasattr(loaded, 'dnnl_get_effective_cpu_isa'):
        return 'this Caffe was built without oneDNN'
    if engine == ONEDNN_BF16 and loaded.dnnl_get_effective_cpu_isa() < _BF16_ISA:
        return 'this processor does not multiply bfloat16 numbers'
    return ''


def engine_in_use() -> str:
    """The engine that convolutions on the CPU use. Raises UserError if Caffe does not know the value of CAFFE_ENGINE."""
    asked = asked_engine()
    return OWN if fault_of(asked) else asked


def warn_of_missing_engine() -> None:
    """Print a line on stderr if the engine asked for is not used, once for this process and those that it starts.

    Raises UserError if Caffe does not know the value of CAFFE_ENGINE.
    """
    fault = fault_of(asked_engine())
    if fault and not os.environ.get(_SAID):
        os.environ[_SAID] = '1'
        print(f"warning: {VARIABLE}={asked_engine()}: {fault}; Caffe's own convolutions are used", file=sys.stderr, flush=True)


if __name__ == '__main__':
    possible = [engine for engine in (OWN, ONEDNN, ONEDNN_BF16) if not fault_of(engine)]
    print(f'{engine_in_use()} ({VARIABLE} can be {", ".join(possible)})')
    print(fault_of(asked_engine()))
