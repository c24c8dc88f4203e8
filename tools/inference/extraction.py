"""Stores the maps of a blob for every input of a source: the layers up to it run once per image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataset_prep.datasets import dataset
from dataset_prep.feature_geometry import with_border
from dataset_prep.feature_sources import Source
from dataset_prep.lmdb_writer import FeatureWriter
from dataset_prep.progress import progress
from prototxt.experiments import NETS
from prototxt.networks import deploy
from prototxt.shapes import MARGIN, STRIDE, TRUNK_ENDS, border_cells
from tools.inference.caffe_net import load_net
from tools.netinfo.fit import warn_of_extraction
from tools.support.errors import Fault, UserError, end_with_faults
from tools.support.hashing import file_sum


def part_of_net(net_name: str, start: str, blob: str, input_hw: tuple[int, int]):
    """NetParameter of the layers from blob `start` to `blob`. Raises UserError if `blob` does not come after `start`."""
    row = NETS[net_name]
    blobs = [*TRUNK_ENDS, row.front_end.final]
    if blob not in blobs or blob == start:
        raise UserError(f'{net_name} can store maps of {" or ".join(name for name in blobs if name != start)}, not of {blob}')
    if row.whole:
        raise UserError(f'{net_name} takes images whole and is trained on them; maps of it cannot be stored')
    if start == row.front_end.final:
        raise UserError(f'the maps given are {start}, and the front end has no layers after it')
    net = deploy(net_name, start=start, size_hw=input_hw)
    last = max(place for place, layer in enumerate(net.layer) if blob in layer.top)
    del net.layer[last + 1 :]
    return net


def forward(net, start: str, blob: str, bottom: np.ndarray) -> np.ndarray:
    """Maps of `blob`, float32 (C, h, w), for one input (channels, H, W) of the net's size."""
    net.blobs[start].data[0] = bottom
    net.forward()
    return net.blobs[blob].data[0].copy()


def manifest_of(net_name: str, weights: Sequence[Path], blob: str, source: Source) -> dict:
    """The manifest without sizes and counts. `weights_sha256` is that of the last weight file."""
    facts = dataset(NETS[net_name].dataset)
    files = [{'file': path.name, 'sha256': file_sum(path)} for path in weights]
    return {
        'dataset': facts.name, 'split': source.split, 'classes': facts.num_classes,
        'net': net_name, 'blob': blob, 'weights': files, 'weights_sha256': files[-1]['sha256'],
        'input_blob': source.start, 'input_hw': list(source.input_hw), 'margin_px': MARGIN,
        'stride': STRIDE, 'label_border_cells': border_cells(blob), **source.facts,
    }  # fmt: skip


def store_maps(source: Source, net_name: str, weights: Sequence[Path], blob: str, out: Path, gpu: int | None) -> None:
    """Store the maps of `blob` in the LMDB `out` for every input that has none there, on the GPU `gpu` or the CPU.

    Raises UserError if the network has no such maps, if `out` holds other ones, or if no image can be used.
    """
    net_param = part_of_net(net_name, source.start, blob, source.input_hw)
    with FeatureWriter(out, source.ids, manifest_of(net_name, weights, blob, source)) as writer:
        if not writer.missing():
            return
        if gpu is not None:
            warn_of_extraction(net_param, gpu)
        net = load_net(net_param, weights, gpu)
        rows = source.rows(writer.done)
        for row in progress(rows, blob, len(source.ids), done=writer.done):
            if isinstance(row, Fault):
                writer.leave_out(row.reason)
            else:
                bottom, cells = row
                writer.add(forward(net, source.start, blob, bottom), with_border(cells, border_cells(blob)))
        if len(writer.faults) == len(source.ids):
            end_with_faults([Fault(reason) for reason in writer.faults.values()], len(source.ids), 'images', 'nothing is stored')
