"""The ids of Cityscapes' label files, and what its evaluator makes of them (mcordts/cityscapesScripts, helpers/labels.py)."""

from collections.abc import Mapping

from dataset_prep.datasets import CITYSCAPES
from dataset_prep.label_encodings import CITYSCAPES_IDS

LABELS = CITYSCAPES_IDS  # every id of a gtFine_labelIds.png; pixels of those in no category below are not evaluated

CATEGORIES = {
    'flat': ('road', 'sidewalk'),
    'construction': ('building', 'wall', 'fence'),
    'object': ('pole', 'traffic light', 'traffic sign'),
    'nature': ('vegetation', 'terrain'),
    'sky': ('sky',),
    'human': ('person', 'rider'),
    'vehicle': ('car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle'),
}

TRAIN_IDS = {name: number for number, (name, _) in enumerate(CITYSCAPES)}  # the ids that networks predict
LABEL_IDS = {name: LABELS.index(name) for name in TRAIN_IDS}  # the ids of the evaluated classes in label files


def categories(ids: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The ids of each category, when `ids` are those of the classes."""
    return {name: tuple(ids[member] for member in members) for name, members in CATEGORIES.items()}
