"""Exports a network with its weights to one ONNX file, from a picture to the class probabilities of each pixel.

The model takes pictures of one size and does what Predictor does: mean, reflected margin, tiles, network, stitching, enlargement.
Several tiles of a picture form one batch.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from dataset_prep.datasets import dataset
from prototxt.experiments import NETS, Net
from prototxt.framing import input_hw, mean_bgr
from prototxt.networks import deploy
from prototxt.shapes import MARGIN, SHRINK
from tools.inference.onnx_net import OnnxGraph, append_cut, append_net, append_reflection
from tools.inference.predictor import zoom_factor
from tools.inference.tiling import grid, tile_size
from tools.support.errors import UserError

SizeHW = tuple[int, int]
Blobs = Mapping[str, Sequence[np.ndarray]]  # by layer


def check_exportable(net_name: str) -> None:
    """Raise UserError for a network that ONNX cannot express."""
    row = NETS[net_name]
    if row.crf_rnn:
        same = next((name for name, other in NETS.items() if other == replace(row, crf_rnn=None)), '')
        advice = f'; export {same}, the same network without CRF-RNN' if same else '; tools/predict.py labels with it'
        raise UserError(
            f'{net_name} ends in CRF-RNN, which filters on a permutohedral lattice: ONNX has no operation for that{advice}'
        )


def default_size(net_name: str) -> SizeHW:
    """Height and width of the largest picture that is one tile of the network."""
    row = NETS[net_name]
    height, width = row.input_size_hw
    return (height, width) if row.whole else (height - SHRINK, width - SHRINK)


def picture_model(net_name: str, blobs: Blobs, size_hw: SizeHW, tiling: str) -> onnx.ModelProto:
    """The ONNX model of a network for pictures of `size_hw` pixels, with `blobs` as weights.

    Its input `data` is float32 (1, 3, H, W), BGR, 0 to 255; its output `prob` is float32 (1, C, H, W).
    """
    row, graph = NETS[net_name], OnnxGraph()
    mean = np.array(mean_bgr(row), np.float32).reshape(1, 3, 1, 1)
    centred = graph.add('Sub', 'data', mean)
    if row.whole:
        tile_hw = input_hw(row, size_hw, fill=tiling == 'reference')
        tiles = _append_extension(graph, centred, size_hw, tile_hw, row)
    else:
        tile_hw = tile_size(tiling, size_hw, row.input_size_hw)
        tiles = _append_tiles(graph, centred, size_hw, tile_hw)
    maps = append_net(graph, deploy(net_name, size_hw=tile_hw), blobs, tiles)
    if not row.whole:
        maps = _append_stitching(graph, maps, *grid(size_hw, tile_hw))
    factor = zoom_factor(net_name)
    if factor > 1:
        scales = np.array([1, 1, factor, factor], np.float32)
        maps = graph.add('Resize', maps, '', scales, mode='linear', coordinate_transformation_mode='asymmetric')
    append_cut(graph, maps, (0, 0), size_hw)
    return graph.model((1, 3, *size_hw), (1, dataset(row.dataset).num_classes, *size_hw))


def describe(model: onnx.ModelProto, net_name: str, weights: Sequence[str]) -> None:
    """Write the network's name and its classes with their colours into a model; `weights` describes the weight files."""
    facts = dataset(NETS[net_name].dataset)
    model.producer_name = 'dilation-toolkit'
    model.doc_string = 'data: a picture, float32 (1, 3, H, W), blue first, 0 to 255. prob: the probabilities of the classes.'
    properties = {'classes': facts.classes, 'colours_rgb': facts.palette, 'weights': weights}
    helper.set_model_props(
        model, {'net': net_name, 'dataset': facts.name} | {name: json.dumps(value) for name, value in properties.items()}
    )


def _append_tiles(graph: OnnxGraph, centred: str, size_hw: SizeHW, tile_hw: SizeHW) -> str:
    """Append the cutting of an image into tiles, one batch, as in tools.inference.tiling."""
    padded = append_reflection(graph, centred, size_hw, (MARGIN,) * 4)
    padded_hw = [side + SHRINK for side in size_hw]
    tiles = []
    for top in range(0, size_hw[0], tile_hw[0] - SHRINK):
        for left in range(0, size_hw[1], tile_hw[1] - SHRINK):
            height, width = min(tile_hw[0], padded_hw[0] - top), min(tile_hw[1], padded_hw[1] - left)
            tile = append_cut(graph, padded, (top, left), (height, width))
            tiles.append(append_reflection(graph, tile, (height, width), (0, 0, tile_hw[0] - height, tile_hw[1] - width)))
    return tiles[0] if len(tiles) == 1 else graph.add('Concat', *tiles, axis=0)


def _append_extension(graph: OnnxGraph, centred: str, size_hw: SizeHW, whole_hw: SizeHW, row: Net) -> str:
    """Append the extension of a whole image at its bottom and right."""
    below, right = whole_hw[0] - size_hw[0], whole_hw[1] - size_hw[1]
    if row.whole and row.whole.border == 'reflect':
        return append_reflection(graph, centred, size_hw, (0, 0, below, right))
    return graph.add('Pad', centred, np.array([0, 0, 0, 0, 0, 0, below, right])) if below or right else centred


def _append_stitching(graph: OnnxGraph, maps: str, rows: int, columns: int) -> str:
    """Append the stitching of the tiles' maps to one map."""
    if rows * columns == 1:
        return maps
    each = [graph.add('Slice', maps, np.array([i]), np.array([i + 1]), np.array([0])) for i in range(rows * columns)]
    lines = [graph.add('Concat', *each[i : i + columns], axis=3) for i in range(0, len(each), columns)]
    return graph.add('Concat', *lines, axis=2)
