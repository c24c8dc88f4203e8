"""Image and label from one LMDB through stock layers, so that a crop and a mirror always hit both alike.

A Datum holds B, G, R and the label as four channels; Data crops and mirrors all four, Slice parts them again.
"""

from prototxt.experiments import Whole
from prototxt.layers import L, P
from prototxt.shapes import MARGIN, STRIDE, front_end_size


def append_images(
    net, source: str, crop_size: int, batch_size: int, mean_bgr: tuple[float, float, float], *,
    label_stride: int, mirror: bool, whole: Whole | None = None,
) -> None:  # fmt: skip
    """Append blobs `data` (N, 3, crop, crop), BGR minus the mean, and `label` (N, 1, n, n) or, at stride 1, (N, 1, 8n, 8n).

    n is the number of score cells. The label of cell (i, j) is that of crop pixel (186 + 8 i, 186 + 8 j), as the authors take it;
    at stride 1 cell (i, j) has the labels of the 8x8 pixels from there. For a network that takes images `whole`, `data` is the
    crop without its margin of 186 pixels, or the upper left 8n - 7 or 8n - 6 pixels of that: the same images, the same labels,
    but for a row whose `first_label` moves them.
    """
    transform = dict(crop_size=crop_size, mirror=mirror, mean_value=[*mean_bgr, 0])
    net.pair = L.Data(source=source, backend=P.Data.LMDB, batch_size=batch_size, transform_param=transform)
    image = 'data_pixels' if whole else 'data'
    net[image], net.label_pixels = L.Slice(net.pair, axis=1, slice_point=3, ntop=2)
    cells = front_end_size(crop_size)
    side = whole.below(STRIDE * cells) if whole else STRIDE * cells
    first = whole.first_label if whole else 0
    # From the first to the last sampled pixel exactly: pooling rounds up, so one pixel more would add a cell.
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
    """Append stored float maps as `blob`, the images that they are of as `image` (N, 3, H, W), BGR minus the mean, and `label`.

    The LMDB `images` has them without a margin, in the order of the maps; `label` is theirs, that of every pixel.
    """
    _append_pair(net, source, blob, 'label_cells', channels, batch_size)
    net.silence = L.Silence(net.label_cells, ntop=0)
    net.pair_pixels = L.Data(
        source=images, backend=P.Data.LMDB, batch_size=batch_size, transform_param=dict(mean_value=[*mean_bgr, 0])
    )
    net.image, net.label = L.Slice(net.pair_pixels, name='image_and_label', axis=1, slice_point=3, ntop=2)


def append_maps(net, source: str, blob: str, channels: int, batch_size: int, *, border: int) -> None:
    """Append stored float maps as `blob` (N, channels, h, w) and their `label`, which has the size of the scores.

    The channels after the maps are the label: one, or at stride 1 those of 64 pixels (prototxt.layers.pixels_of_cells).
    Maps from before fc6 come with their label padded by the `border` cells on each side that the layers after take off;
    that is cropped here.
    """
    _append_pair(net, source, blob, 'label_padded' if border else 'label', channels, batch_size)
    if border:
        # Crop takes its size from a blob. The scores would do, but then Caffe wants a gradient for the label;
        # a pooling that spans as much as these layers do has the size and no gradient.
        net.label_window = L.Pooling(net.label_padded, pool=P.Pooling.MAX, kernel_size=2 * border + 1, stride=1)
        net.label = L.Crop(net.label_padded, net.label_window, axis=2, offset=border)


def _append_pair(net, source: str, blob: str, label: str, channels: int, batch_size: int) -> None:
    """Read stored pairs and cut them into the maps, `channels` of them, and the label after them."""
    net.pair = L.Data(source=source, backend=P.Data.LMDB, batch_size=batch_size)
    # Named like its top, the layer would be in snapshots under the name of the layer whose maps these are, without weights:
    # Caffe would abort when the snapshot is loaded into the whole network.
    net[blob], net[label] = L.Slice(net.pair, name='maps_and_label', axis=1, slice_point=channels, ntop=2)
