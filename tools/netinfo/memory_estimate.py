"""Estimates the memory of a net before anything runs: Caffe's blobs, counted from their shapes, and the program around them.

What Caffe allocates, and when (src/caffe/{net,syncedmem,solver}.cpp and solvers/sgd_solver.cpp):
  - A blob's values when a layer first writes them, and its gradient when a backward pass does. An in-place layer shares its
    input's.
  - Weights once, and in training their gradients and the momentum. A weight file that is read, or a snapshot that is written,
    is one more copy in memory: Blob::ToProto adds value after value to a field that doubles when it is full.
  - One im2col buffer for all convolutions of a thread (as this toolkit builds Caffe; stock Caffe has one per layer). A forward
    pass on a CPU uses only a part of a large one. With oneDNN there are copies of input, weights and output of a layer instead.
  - Batches that a Data layer reads ahead.
Not in the estimate: pages of an LMDB, which the system takes back when it needs them, and the buffers into which OpenBLAS packs
matrices, whose size depends on its build.
"""

import os
from dataclasses import dataclass
from math import prod

from tools.netinfo.setup import Layer
from tools.support.caffe_in_use import manifest_in_use
from tools.support.cpu_engine import ONEDNN_BF16, OWN, engine_in_use

VALUE_BYTES = 4
# Measured with an almost empty net, with the libraries of Debian 12 on two cores (as in `make bench PARTS=memory`).
PROGRAM_BYTES = {'test': 190e6, 'train': 60e6}
CUDA_LIBRARIES_BYTES = 150e6  # more of a Caffe built for GPUs, even if it runs on the CPU; measured in the same way
# Modules that Python layers import, measured in `caffe train`. prototxt.reflect_pad needs NumPy, which a forward pass from Python
# has already; tools.crfs.crf_rnn_layers also needs numba.
MODULE_BYTES = {'numpy': 78e6, 'numba': 110e6}
GPU_CONTEXT_BYTES = 500e6  # what CUDA and cuBLAS take of a GPU before the first blob; a usual value, not measured here


@dataclass(frozen=True)
class Estimate:
    """Bytes of a net by purpose. `device` is the memory that holds the blobs: the host's on a CPU, else the GPU's."""

    program: float
    weights: float
    weight_gradients: float
    momentum: float
    blobs: float
    blob_gradients: float
    kept: float  # by layers: positions of maxima, masks of dropout, batches read ahead
    kept_host: float  # the same, in the host's memory even with a GPU: the record that is read, the lattice of a CRF-RNN
    column: float  # the im2col buffer, and what oneDNN copies of a layer
    passing: float  # by Python layers while they work
    message: float  # a weight file while it is read (test), or a snapshot while it is written (training)
    training: bool
    gpu: bool

    @property
    def working(self) -> float:
        """Memory that stays from pass to pass, without the program."""
        weights = self.weights + self.weight_gradients + self.momentum
        return weights + self.blobs + self.blob_gradients + self.kept + self.column

    @property
    def host(self) -> float:
        """Peak of the host's memory."""
        always = self.program + self.kept_host
        if self.gpu:  # weights stay on the host too; a snapshot brings back weights and momentum
            return always + self.weights + max(self.message, self.passing) + self.momentum
        if self.training:
            return always + self.working + max(self.message, self.passing)
        return always + max(self.weights + self.message, self.working + self.passing)

    @property
    def device(self) -> float:
        """Peak of the memory that holds the blobs: the GPU's, or the host's."""
        return GPU_CONTEXT_BYTES + self.working if self.gpu else self.host


def estimate(layers: list[Layer], *, training: bool, gpu: bool = False, file_bytes: int | None = None) -> Estimate:
    """The memory of a net with these `layers`, run forward or trained by SGD with momentum.

    `file_bytes`: size of the largest weight file; by default the size of the net's weights.
    """
    sizes = [prod(shape) for layer in layers for shape in layer.params]
    weights = VALUE_BYTES * sum(sizes)
    values, gradients = _blobs(layers)
    kept = sum(made.kept + training * made.kept_training + gpu * made.kept_gpu for made in (layer.costs for layer in layers))
    passing = [layer.costs.passing_training if training else layer.costs.passing for layer in layers]
    return Estimate(
        program=_program(layers, training),
        weights=weights,
        weight_gradients=weights if training else 0,
        momentum=weights if training else 0,
        blobs=VALUE_BYTES * values,
        blob_gradients=VALUE_BYTES * gradients if training else 0,
        kept=VALUE_BYTES * kept,
        kept_host=VALUE_BYTES * sum(layer.costs.kept_host for layer in layers),
        column=max(map(_column_on_gpu, layers), default=0) if gpu else _columns_on_cpu(layers, training),
        passing=VALUE_BYTES * (sum(passing) if training else max(passing, default=0)),
        message=VALUE_BYTES * _written(sizes) if training else weights if file_bytes is None else file_bytes,
        training=training,
        gpu=gpu,
    )


def program_bytes(phase: str) -> float:
    """Bytes of a process of the Caffe in use before any net, labelling ('test') or training ('train')."""
    return PROGRAM_BYTES[phase] + (CUDA_LIBRARIES_BYTES if manifest_in_use().get('cuda_arch') else 0)


def _program(layers: list[Layer], training: bool) -> float:
    """Bytes of the program before the first blob, with the imports of Python layers."""
    imported = {module for layer in layers for module in layer.costs.imports}
    if not training:
        imported.discard('numpy')  # a Python program has it anyway
    return program_bytes('train' if training else 'test') + sum(MODULE_BYTES[module] for module in imported)


def _written(sizes: list[int]) -> int:
    """Largest number of values in memory while blobs of `sizes` are added to a message one after the other.

    A field has room for a power of two. A full field is copied to one twice as large, and for that moment both exist: together
    as many values as the power of two above the size of the blob.
    """
    peak = before = 0
    for size in sizes:
        peak, before = max(peak, before + (1 << (size - 1).bit_length())), before + size
    return max(peak, before)


def _columns_on_cpu(layers: list[Layer], training: bool) -> int:
    """The im2col buffer, and the copies of a layer that oneDNN makes if it is the engine in use (cpu_engine.py)."""
    engine = engine_in_use()
    by_onednn = [layer.costs.copied for layer in layers if layer.costs.copied and engine != OWN]
    by_caffe = [layer.costs for layer in layers if not layer.costs.copied or engine == OWN]
    columns = max((costs.column if training else costs.column_in_parts for costs in by_caffe), default=0)
    factor_bytes = 2 if engine == ONEDNN_BF16 else VALUE_BYTES
    copies = max((_copied(*sizes, training, factor_bytes) for sizes in by_onednn), default=0)
    transposed = 0  # for gradients of weights, oneDNN lays both factors out anew, twice
    if training and engine == ONEDNN_BF16:
        transposed = max((2 * factor_bytes * (inputs + outputs) for inputs, outputs, _ in by_onednn), default=0)
    return VALUE_BYTES * columns + copies + transposed


def _copied(inputs: int, outputs: int, weights: int, training: bool, factor_bytes: int) -> int:
    """Bytes that oneDNN copies in a pass: two factors, and the result as float32."""
    every = inputs + outputs + weights
    results = (outputs, inputs, weights) if training else (outputs,)  # of the forward pass, and of both gradients
    return max(factor_bytes * (every - result) + VALUE_BYTES * result for result in results)


def _column_on_gpu(layer: Layer) -> int:
    """The whole buffer, or a band with as many output rows as CAFFE_COLUMN_MIB allows (caffe_build/cuda_bands.py)."""
    whole, row, room = VALUE_BYTES * layer.costs.column, VALUE_BYTES * layer.costs.column_row, os.environ.get('CAFFE_COLUMN_MIB')
    return min(whole, row * max(1, int(float(room) * 2**20 // row))) if room and row else whole


def _blobs(layers: list[Layer]) -> tuple[int, int]:
    """Values of all blobs, and of their gradients in training.

    Caffe splits a blob that several layers read into one for each: they share values but not gradients. A layer that only renames
    its input, such as Reshape, shares both.
    """
    values = gradients = 0
    size: dict[str, int] = {}
    takers: dict[str, int] = {}  # layers so far that send a gradient to the blob
    for layer in layers:
        for name, passes in zip(layer.bottoms, layer.passes_gradients, strict=True):
            if passes and not layer.costs.shares_input and not (layer.in_place and name == layer.bottoms[0]):
                takers[name] = takers.get(name, 0) + 1
                gradients += size[name] * (2 if takers[name] == 2 else 1)  # the second one makes Caffe split the blob
        for name, shape in zip(layer.tops, layer.shapes, strict=False):
            if layer.in_place and name == layer.bottoms[0]:
                continue
            size[name], takers[name] = prod(shape), 0
            values += 0 if layer.costs.shares_input else prod(shape)
    return values, gradients
