"""Chains of training stages: a stage, and before it all that it starts from. Nothing heavy is imported here.

The order is that of the rows: a stage comes after those in its `init`, and after the one whose weights made its maps.
"""

from prototxt.experiments import STAGES, Stage

# `make train-NAME`, and the stages it ends with. VOC goes on to joint training; the paper's models are on its way.
CHAINS = {
    'voc': ('voc-context-basic', 'voc-large-joint-fyu'),
    'voc-fyu': ('voc-basic-joint-fyu',),
    'camvid': ('camvid-joint',),
    'kitti': ('kitti-joint',),
    'cityscapes': ('cityscapes-joint',),
    'toy': ('toy-basic', 'toy-large'),
}


def is_chain(name: str) -> bool:
    """Whether `name`, or what stands before its `@DATASET`, is a chain."""
    return name.partition('@')[0] in CHAINS


def ends(name: str) -> tuple[str, ...]:
    """The last stages of the chain `name`, or of `name@DATASET` for a user's own data set."""
    base, at, own = name.partition('@')
    return tuple(f'{stage}{at}{own}' for stage in CHAINS[base])


def stages_of(last: tuple[str, ...]) -> list[str]:
    """The names of `last` and of all stages that they start from, each after those that it needs."""
    found: dict[str, None] = {}
    for name in last:
        for needed in _needed(STAGES[name]):
            found |= dict.fromkeys(stages_of((needed,)))
        found[name] = None
    return list(found)


def _needed(stage: Stage) -> list[str]:
    """The stages that one starts from."""
    return [name for name in (*stage.init, stage.features_from) if name and name in STAGES]
