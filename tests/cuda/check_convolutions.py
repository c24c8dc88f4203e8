"""`make check-cuda`: the CUDA build's convolutions on simulated GPUs (pretended_gpu/build.py).

Those show more than real ones: every wrong address, memory that was not freed, and calls after the driver has closed.
"""

import os
import subprocess

import numpy as np
import pytest
from cuda_process import computed
from pretended_gpu.build import bytes_taken

from tools.caffe_build.environment import PYTHON


@pytest.mark.parametrize('mebibytes', [None, '0.0001', '0.01', '0.02', '0.05', '1000'])
def test_windows_of_all_sorts(pretended, folder, tmp_path, mebibytes):
    """Outputs and gradients are the CPU's, with all columns at once, with bands of one row, and with a smaller last band."""
    variables = pretended.variables(1, tmp_path) | ({'CAFFE_COLUMN_MIB': mebibytes} if mebibytes else {})
    found = computed('windows', 'gpu', folder, variables)
    np.testing.assert_allclose(found, computed('windows', 'cpu', folder), rtol=0, atol=2e-4)


def test_bands_take_less_memory(pretended, folder, tmp_path):
    """The window padded by 20 has the most columns, 4 x 9 x 69 x 56 floats; bands save at most those."""
    most = []
    for name, more in (('whole', {}), ('rows', {'CAFFE_COLUMN_MIB': '0.0001'})):
        use = tmp_path / name
        use.mkdir()
        computed('windows', 'gpu', folder, pretended.variables(1, use) | more)
        most.append(bytes_taken(use)[1])
    assert 0 < most[0] - most[1] <= 4 * 9 * 69 * 56 * 4


def test_nothing_is_left_of_threads_that_ended(pretended, folder, tmp_path):
    """Their buffers and nets are freed when they end."""
    computed('threads', 'gpu', folder, pretended.variables(1, tmp_path))
    at_end, most = bytes_taken(tmp_path)
    assert at_end == 0 < most


def test_the_host_cannot_read_device_memory(pretended, tmp_path):
    """A wrong address ends the process, so the checks above would see one."""
    program = (
        'import ctypes; runtime = ctypes.CDLL(None); address = ctypes.c_void_p(); '
        'assert runtime.cudaMalloc(ctypes.byref(address), ctypes.c_size_t(8)) == 0; print("there", flush=True); '
        'ctypes.string_at(address.value, 1); print("read")'
    )
    variables = os.environ | pretended.variables(1, tmp_path)
    finished = subprocess.run([PYTHON, '-c', program], env=variables, capture_output=True, text=True)
    assert finished.returncode < 0 and finished.stdout == 'there\n'
