"""How an image becomes the input of a network: which mean is subtracted, and to which size it is extended."""

from collections.abc import Sequence

from dataset_prep.datasets import dataset
from prototxt.experiments import Net, Stage
from prototxt.shapes import SHRINK, pixels_of


def mean_bgr(row: Net) -> tuple[float, float, float]:
    """The colour that is subtracted, (B, G, R): the row's own, else the mean of its data set."""
    return row.mean_bgr or dataset(row.dataset).mean_bgr


def input_hw(row: Net, size_hw: tuple[int, int], *, fill: bool = False) -> tuple[int, int]:
    """The smallest input (height, width) in pixels that holds an image of `size_hw`.

    With `fill`, a row that fills (Whole.fill) gives at least its own input size. A row that cuts tiles takes any size.
    """
    if row.whole is None:
        return size_hw
    least = row.input_size_hw if fill and row.whole.fill else (0, 0)
    height, width = (row.whole.above(max(pair)) for pair in zip(size_hw, least, strict=True))
    return height, width


def pixels_summed(stage: Stage, map_hw: Sequence[int] = ()) -> int:
    """The largest number of pixels whose losses a stage adds up; 1 if it takes their mean.

    `map_hw`: the size in cells of the stored maps, for a stage that trains on maps.
    """
    if stage.normalization != 'NONE':
        return 1
    height, width = (stage.crop_size - SHRINK,) * 2 if stage.crop_size else pixels_of(stage.start, map_hw)
    return stage.batch_per_pass * height * width
