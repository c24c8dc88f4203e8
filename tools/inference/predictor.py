"""Labels images, or stored maps of an intermediate blob."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from pretrained import caffemodel
from prototxt.experiments import NETS, Whole
from prototxt.framing import input_hw, mean_bgr
from prototxt.networks import deploy
from prototxt.shapes import STRIDE, border_cells, check_crop_size
from tools.inference.caffe_net import forward, load_net
from tools.inference.net_choice import network
from tools.inference.tiling import extended, grid, stitch, tile_size, tiles
from tools.inference.upsampling import argmax, zoom
from tools.support.errors import UserError


def zoom_factor(net_name: str) -> int:
    """Pixels per cell of `prob`: 8, or 1 for a network that upsamples."""
    return 1 if NETS[net_name].pixels else STRIDE


def _load(net_name: str, weights: Sequence[Path], gpu: int | None, size_hw: tuple[int, int]):
    return load_net(deploy(net_name, size_hw=size_hw), weights, gpu)


class Predictor:
    """A network applied to images tile by tile, with the mean colour of its data set subtracted.

    `net_name` is a row of NETS, or short for one; `weights` are one or several caffemodels. Images are NumPy arrays, uint8
    (H, W, 3), BGR as in OpenCV; other arrays raise ValueError. `size_hw` replaces the tile of the row and must give a whole
    number of cells. With `tiling` 'tight', tiles are as small as each image allows (tools.inference.tiling). A network that
    takes whole images has no tiles.
    """

    def __init__(
        self,
        net_name: str,
        weights: Path | str | Sequence[Path | str],
        size_hw: tuple[int, int] | None = None,
        gpu: int | None = None,
        tiling: str = 'reference',
    ) -> None:
        net_name = network(net_name)
        files = [Path(path) for path in ([weights] if isinstance(weights, (str, Path)) else weights)]
        row = NETS[net_name]
        if size_hw and not row.whole:
            size_hw = (check_crop_size(size_hw[0]), check_crop_size(size_hw[1]))
        self.reference_hw = size_hw or row.input_size_hw
        self.tiling = tiling
        self._row = row
        self.mean_bgr = np.array(mean_bgr(row), np.float32)
        self.zoom = zoom_factor(net_name)
        self._load = partial(_load, net_name, files, gpu)
        self._net = None
        if tiling == 'tight':
            caffemodel.check(deploy(net_name, size_hw=self.reference_hw), files)  # loaded when the first image says its size
        else:
            self._net = self._load(self.reference_hw)

    @property
    def net(self):
        """The caffe.Net."""
        return self._net_for(self.reference_hw)

    def _net_for(self, size_hw: tuple[int, int]):
        """The net. The first call makes it for inputs of `size_hw`, because Caffe takes memory for that size."""
        if self._net is None:
            self._net = self._load(size_hw)
        return self._net

    def predict_scores(self, image_bgr: np.ndarray) -> np.ndarray:
        """Class probabilities (C, h, w) of an image at the net's own resolution; they reach past the image."""
        _check_image(image_bgr)
        size_hw = image_bgr.shape[:2]
        if self._row.whole:
            return self._scores_of_whole(self._centred(image_bgr), self._row.whole)
        tile_hw = tile_size(self.tiling, size_hw, self.reference_hw)
        net = self._net_for(tile_hw)
        maps = (forward(net, self._centred(tile).transpose(2, 0, 1)) for tile in tiles(image_bgr, tile_hw))
        return stitch(maps, columns=grid(size_hw, tile_hw)[1])

    def _centred(self, pixels: np.ndarray) -> np.ndarray:
        """A tile minus the mean, float32. Tile by tile: a whole large image in float takes four times its memory."""
        return pixels.astype(np.float32) - self.mean_bgr

    def _scores_of_whole(self, centred: np.ndarray, whole: Whole) -> np.ndarray:
        """predict_scores for a network that takes whole images."""
        size_hw = input_hw(self._row, (centred.shape[0], centred.shape[1]), fill=self.tiling == 'reference')
        return forward(self._net_for(size_hw), extended(centred, size_hw, whole.border).transpose(2, 0, 1))

    def probabilities(self, image_bgr: np.ndarray) -> np.ndarray:
        """Class probabilities of each pixel of an image, float32 (C, H, W)."""
        return zoom(self.predict_scores(image_bgr), image_bgr.shape[:2], self.zoom)

    def label_map(self, image_bgr: np.ndarray) -> np.ndarray:
        """Class ids of each pixel of an image, uint8 (H, W)."""
        return argmax(self.predict_scores(image_bgr), image_bgr.shape[:2], self.zoom)


def _check_image(image_bgr: np.ndarray) -> None:
    """Raise ValueError for an array that is no image. A float image from 0 to 1 would be labelled like a black one."""
    if image_bgr.dtype != np.uint8 or image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or 0 in image_bgr.shape:
        raise ValueError(f'an image is uint8 (H, W, 3), blue first; this array is {image_bgr.dtype} {image_bgr.shape}')


class MapPredictor:
    """The layers of a network after blob `start`, applied to stored maps of that blob.

    A network with CRF-RNN (`reads_image`) also takes the image of the maps, uint8 (H, W, 3) BGR.
    """

    def __init__(
        self, net_name: str, weights: Sequence[Path], start: str, size_hw: tuple[int, int], gpu: int | None = None
    ) -> None:
        if min(size_hw) <= (least := 2 * border_cells(start)):
            raise UserError(f'maps of {start} of {size_hw[0]}x{size_hw[1]} cells: more than {least} are needed along a side')
        self.zoom = zoom_factor(net_name)
        self.reads_image = NETS[net_name].crf_rnn is not None
        self._mean_bgr = np.array(mean_bgr(NETS[net_name]), np.float32)
        self.net = load_net(deploy(net_name, start=start, size_hw=size_hw), weights, gpu)

    def predict_scores(self, features: np.ndarray, image_bgr: np.ndarray | None = None) -> np.ndarray:
        """Class probabilities (C, h, w) from the maps of an image, float32 (channels, h, w), at the net's own resolution."""
        if image_bgr is None:
            return forward(self.net, features)
        return forward(self.net, features, (image_bgr.astype(np.float32) - self._mean_bgr).transpose(2, 0, 1))

    def label_map(self, features: np.ndarray, size_hw: tuple[int, int], image_bgr: np.ndarray | None = None) -> np.ndarray:
        """Class ids, uint8 (*size_hw), of an image of `size_hw` pixels from its maps, float32 (channels, h, w)."""
        return argmax(self.predict_scores(features, image_bgr), size_hw, self.zoom)
