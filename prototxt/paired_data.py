"""Reads image and label from one LMDB with stock layers, so that a crop or mirroring applies to both.

A Datum holds B, G, R and the label as four channels. Data crops and mirrors all four; Slice separates them.
"""

from prototxt.experiments import Whole
from prototxt.layers import L, P
from prototxt.shapes import MARGIN, STRIDE, front_end_size


def append_images(
    net, source: str, crop_size: int, batch_size: int, mean_bgr: tuple[float, float, float], *,
    label_stride: int, mirror: bool, whole: Whole | None = None,
) -> None:  # fmt: skip
    """Append blobs `data` (N, 3, crop, crop), BGR minus the mean, and `label` (N, 1, n, n) or, at stride 1, (N, 1, 8n, 8n).

    n is the number of score cells. Cell (i, j) has the label of crop pixel (186 + 8 i, 186 + 8 j), as in the authors' code. At
    stride 1 it has the labels of the 8x8 pixels from there. For a network that takes `whole` images, `data` is the crop without
    its margin of 186 pixels, or the upper left 8n - 7 or 8n - 6 pixels of that. Images and labels stay the same, unless the
    row's `first_label` moves the labels.
    """
    transform = dict(crop_size=crop_size, mirror=mirror, mean_value=[*mean_bgr, 0])
    net.pair = L.Data(source=source, backend=P.Data.LMDB, batch_size=batch_size, transform_param=transform)
    image = 'data_pixels' if whole else 'data'
    net[image], net.label_pixels = L.Slice(net.pair, axis=1, slice_point=3, ntop=2)
    cells = front_end_size(crop_size)
    side = whole.below(STRIDE * cells) if whole else STRIDE * cells
    first = whole.first_label if whole else 0
    # Exactly from the first to the last sampled pixel: pooling rounds up, so one more pixel would add a cell.
    window = side - first if label_stride == 1 else STRIDE * (cells - 1) + 1
    net.label_window = L.DummyData(shape=dict(dim=[1, 1, window, window]))
    if whole:
        if side != window:
            net.data_window = L.DummyData(shape=dict(dim=[1, 1, side, side]))
        net.data = L.Crop(net[image], net.label_window if side == window else net.data_window, axis=2, offset=MARGIN)
    crop = L.Crop(net.label_pixels, net.label_window, axis=2, offset=MARGIN + first)
    if label_stride == 1:
        net.label = crop
        return
    net.label_crop = crop
    net.label = L.Pooling(net.label_crop, pool=P.Pooling.MAX, kernel_size=1, stride=STRIDE)


def append_maps_beside_images(
    net, source: str, blob: str, channels: int, images: str, batch_size: int, mean_bgr: tuple[float, float, float]
) -> None:
    """Append stored float maps as `blob`, their images as `image` (N, 3, H, W), BGR minus the mean, and `label` for every pixel.

    The LMDB `images` holds images and labels without a margin, in the order of the maps.
    """
    _append_pair(net, source, blob, 'label_cells', channels, batch_size)
    net.silence = L.Silence(net.label_cells, ntop=0)
    net.pair_pixels = L.Data(
        source=images, backend=P.Data.LMDB, batch_size=batch_size, transform_param=dict(mean_value=[*mean_bgr, 0])
    )
    net.image, net.label = L.Slice(net.pair_pixels, name='image_and_label', axis=1, slice_point=3, ntop=2)


def append_maps(net, source: str, blob: str, channels: int, batch_size: int, *, border: int) -> None:
    """Append stored float maps as `blob` (N, channels, h, w) and their `label`, which has the size of the scores.

    The channels after the maps are the label: one channel, or at stride 1 one for each of 64 pixels (layers.pixels_of_cells).
    The layers after a map from before fc6 remove `border` cells on each side. The stored label is padded by as many, and the
    padding is cropped here.
    """
    _append_pair(net, source, blob, 'label_padded' if border else 'label', channels, batch_size)
    if border:
        # Crop takes its size from a blob. With the scores as that blob, Caffe would want a gradient for the label. A pooling that
        # spans as much as the layers do has the right size and needs no gradient.
        net.label_window = L.Pooling(net.label_padded, pool=P.Pooling.MAX, kernel_size=2 * border + 1, stride=1)
        net.label = L.Crop(net.label_padded, net.label_window, axis=2, offset=border)


def _append_pair(net, source: str, blob: str, label: str, channels: int, batch_size: int) -> None:
    """Append the reader of stored pairs: the first `channels` channels are the maps, the rest is the label."""
    net.pair = L.Data(source=source, backend=P.Data.LMDB, batch_size=batch_size)
    # The layer must not be named like its top. A snapshot would then hold it, without weights, under the name of the layer that
    # made the maps, and Caffe would abort when it loads the snapshot into the whole network.
    net[blob], net[label] = L.Slice(net.pair, name='maps_and_label', axis=1, slice_point=channels, ntop=2)
