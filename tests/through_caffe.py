"""Compares what Caffe's own Data layer reads from an LMDB with the images that it was made from."""

import json
from pathlib import Path

import numpy as np

from dataset_prep.lmdb_store import stored_ids
from tools.support.caffe_import import import_caffe

caffe = import_caffe()
MARGIN = 186  # pixels that the front end takes off each side


def data_net(folder: Path, source: Path, options: str, batch: int):
    """A real Caffe net of one Data layer."""
    layer = f'name: "pair" type: "Data" top: "pair" data_param {{ source: {json.dumps(str(source), ensure_ascii=False)}'
    file = folder / 'data.prototxt'
    file.write_text(f'layer {{ {layer} backend: LMDB batch_size: {batch} }} {options} }}', encoding='utf-8')
    return caffe.Net(str(file), caffe.TRAIN)


def padded(image: np.ndarray, label: np.ndarray, crop: int) -> np.ndarray:
    """B, G, R and label (4, H, W), padded by NumPy: by the margin, then up to the crop size."""
    border = [(MARGIN, MARGIN)] * 2
    pair = _bordered(image, label, border)
    missing = [max(0, crop - side) for side in pair.shape[1:]]
    rest = [(pixels // 2, pixels - pixels // 2) for pixels in missing]
    return _bordered(pair[:3].transpose(1, 2, 0), pair[3], rest)


def _bordered(image: np.ndarray, label: np.ndarray, border: list[tuple[int, int]]) -> np.ndarray:
    reflected = np.pad(image, [*border, (0, 0)], 'reflect')
    return np.concatenate([reflected.transpose(2, 0, 1), np.pad(label, border, constant_values=255)[None]])


def check_lmdb(folder: Path, source: Path, expected: dict[str, np.ndarray], crop: int) -> None:
    """Check every Datum, then its random crops and mirror images, against `expected`: padded pairs (4, H, W) by id."""
    ids = stored_ids(source)
    assert sorted(ids) == sorted(expected)
    net = data_net(folder, source, '', batch=1)
    for name in ids:
        np.testing.assert_array_equal(net.forward()['pair'][0], expected[name], name)
    del net
    caffe.set_random_seed(1)
    net = data_net(folder, source, f'transform_param {{ crop_size: {crop} mirror: true }}', batch=len(ids))
    seen = set()
    for _ in range(6):
        for name, found in zip(ids, net.forward()['pair'], strict=True):
            seen.add((name, *_place(expected[name], found)))
    assert {mirrored for *_, mirrored in seen} == {True, False}


def _place(whole: np.ndarray, crop: np.ndarray) -> tuple[int, int, bool]:
    """Row and column of a crop in the whole image, and whether it is mirrored; fails if it is nowhere."""
    side = crop.shape[1]
    for mirrored in (False, True):
        wanted = crop[:, :, ::-1] if mirrored else crop
        for row in range(whole.shape[1] - side + 1):
            for column in range(whole.shape[2] - side + 1):
                if (whole[:, row, column] == wanted[:, 0, 0]).all():
                    window = whole[:, row : row + side, column : column + side]
                    if (window == wanted).all():
                        return row, column, mirrored
    raise AssertionError('the crop is nowhere in its image')
