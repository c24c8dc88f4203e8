"""How an image becomes what a network is given: the mean that is subtracted, and the size that it is brought to."""

from collections.abc import Sequence

from dataset_prep.datasets import dataset
from prototxt.experiments import Net, Stage
from prototxt.shapes import SHRINK, pixels_of


def mean_bgr(row: Net) -> tuple[float, float, float]:
    """The colour that is subtracted: the row's own, else that of its data set."""
    return row.mean_bgr or dataset(row.dataset).mean_bgr


def input_hw(row: Net, size_hw: tuple[int, int], *, fill: bool = False) -> tuple[int, int]:
    """The smallest input, in pixels, that holds `size_hw` of them; with `fill`, the row's own size at least where it says so.

    A row that cuts tiles takes any size.
    """
    if row.whole is None:
        return size_hw
    least = row.input_size_hw if fill and row.whole.fill else (0, 0)
    height, width = (row.whole.above(max(pair)) for pair in zip(size_hw, least, strict=True))
    return height, width


def pixels_summed(stage: Stage, map_hw: Sequence[int] = ()) -> int:
    """How many pixels' losses a stage's loss is the sum of, at most; 1 if it is their mean.

    `map_hw` is the size in cells of the stored maps of a stage that trains on maps.
    """
    if stage.normalization != 'NONE':
        return 1
    height, width = (stage.crop_size - SHRINK,) * 2 if stage.crop_size else pixels_of(stage.start, map_hw)
    return stage.batch_per_pass * height * width
