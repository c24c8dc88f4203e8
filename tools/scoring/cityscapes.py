"""The ids of Cityscapes' label files, and what its evaluator makes of them (mcordts/cityscapesScripts, helpers/labels.py)."""

from dataset_prep.datasets import CITYSCAPES

# Every id that a gtFine_labelIds.png holds, in order from 0.
LABELS = (
    'unlabeled', 'ego vehicle', 'rectification border', 'out of roi', 'static', 'dynamic', 'ground',
    'road', 'sidewalk', 'parking', 'rail track', 'building', 'wall', 'fence', 'guard rail', 'bridge', 'tunnel',
    'pole', 'polegroup', 'traffic light', 'traffic sign', 'vegetation', 'terrain', 'sky', 'person', 'rider',
    'car', 'truck', 'bus', 'caravan', 'trailer', 'train', 'motorcycle', 'bicycle',
)  # fmt: skip

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


def categories(ids: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """The ids of each category, when `ids` are those of the classes."""
    return {name: tuple(ids[member] for member in members) for name, members in CATEGORIES.items()}
