"""Lists the layers of a training stage for the records that it reads."""

from dataset_prep.datasets import dataset
from prototxt.experiments import NETS, STAGES, Stage
from prototxt.front_end import start_channels
from prototxt.shapes import STRIDE, pixels_of
from tools.netinfo.setup import Layer, layers_of


def stage_layers(stage_name: str, net, maps_hw: tuple[int, int] | None) -> list[Layer]:
    """The layers of `net`, the training NetParameter of a stage on images or on stored maps of `maps_hw` cells.

    Without `maps_hw`, the first record of the LMDB tells. Raises UserError if that is missing.
    """
    stage = STAGES[stage_name]
    if stage.start == 'data' or maps_hw is None:
        return layers_of(net, 'train', apart=True)
    row = NETS[stage.net]
    channels = start_channels(row.front_end, stage.start, dataset(row.dataset).num_classes) + label_planes(stage)
    sources = {'pair': (channels, *maps_hw), 'pair_pixels': (4, *pixels_of(stage.start, maps_hw))}
    return layers_of(net, 'train', sources, apart=True)


def label_planes(stage: Stage) -> int:
    """Number of label channels in a record of a stage: one, or one for each pixel of a cell of stored maps."""
    return STRIDE**2 if stage.start != 'data' and stage.stored_label_stride == 1 else 1
