"""The measured cases: forward passes of full-size tiles, and a training step of every stage whose step differs."""

from dataclasses import dataclass

from prototxt.experiments import NETS, STAGES, Stage
from prototxt.shapes import TRUNK_ENDS, front_end_size
from tools.support.errors import UserError


@dataclass(frozen=True)
class Case:
    """One measurement: `batch` images of `size_hw` (at blob `start`) through a network, forward or in a training step."""

    name: str
    net: str
    size_hw: tuple[int, int]
    start: str = 'data'
    batch: int = 1
    stage: str = ''  # empty: forward only


FULL_FORWARD = (
    Case('Dilation8-VOC forward', 'dilation8_pascal_voc', (900, 900)),
    Case('Dilation10 forward', 'dilation10_cityscapes', (1396, 1396)),
)
DILATION10_JOINT = 'cityscapes-joint'
# The same commands on networks that a CPU runs in a second: shows that they work, measures nothing.
REHEARSAL = (
    Case('toy forward', 'basic_toy', (404, 404)),
    Case('toy-front step', 'front_toy', (380, 380), batch=2, stage='toy-front'),
    Case('toy-basic step', 'basic_toy', (9, 9), start='final', batch=4, stage='toy-basic'),
)
NOT_MEASURED = ('this toolkit',)  # a `source` that begins so is a recipe for a CPU


def full_cases() -> tuple[Case, ...]:
    """All forward passes, then a step of each stage at its crop and batch, unless an earlier stage has the same step."""
    steps: dict[tuple, Case] = {}
    for name, stage in STAGES.items():
        if not stage.source.startswith(NOT_MEASURED) and not NETS[stage.net].whole:
            case = Case(f'{name} step', stage.net, size_of(stage), stage.start, stage.batch_size, name)
            steps.setdefault((*_step(stage), case.size_hw, case.batch), case)
    return FULL_FORWARD + tuple(steps.values())


def size_of(stage: Stage) -> tuple[int, int]:
    """(height, width) that a stage trains on: its crop, or the maps of its network's tile."""
    if stage.crop_size:
        return stage.crop_size, stage.crop_size
    if stage.start in TRUNK_ENDS:
        raise UserError(f'a step on maps of {stage.start} is not measured')
    height, width = NETS[stage.net].input_size_hw
    return front_end_size(height), front_end_size(width)


def splits(batch: int) -> list[int]:
    """Numbers of images per pass that divide a batch, largest first."""
    return [images for images in range(batch, 0, -1) if batch % images == 0]


def _step(stage: Stage) -> tuple:
    """What a step computes, without the data set and its number of classes."""
    row = NETS[stage.net]
    return row.front_end.trunk, row.front_end.fc, row.context, row.upsample, stage.start, stage.label_stride
