"""Chains of training stages: a stage after all stages that it starts from. This module imports nothing heavy.

A stage comes after the stages in its `init` and after the stage that made its maps.
"""

from prototxt.experiments import STAGES, Stage

# `make train-NAME` and the last stages of each chain. VOC's ends with joint training; it trains the paper's models on the way.
CHAINS = {
    'voc': ('voc-context-basic', 'voc-large-joint-fyu'),
    'voc-fyu': ('voc-basic-joint-fyu',),
    'camvid': ('camvid-joint',),
    'kitti': ('kitti-joint',),
    'cityscapes': ('cityscapes-joint',),
    'toy': ('toy-basic', 'toy-large'),
}


def is_chain(name: str) -> bool:
    """Whether `name`, without its `@DATASET`, is a chain."""
    return name.partition('@')[0] in CHAINS


def ends(name: str) -> tuple[str, ...]:
    """The last stages of the chain `name`, or of `name@DATASET` for a user's own data set."""
    base, at, own = name.partition('@')
    return tuple(f'{stage}{at}{own}' for stage in CHAINS[base])


def stages_of(last: tuple[str, ...]) -> list[str]:
    """Names of `last` and of all stages that they start from, each after the stages that it needs."""
    found: dict[str, None] = {}
    for name in last:
        for needed in _needed(STAGES[name]):
            found |= dict.fromkeys(stages_of((needed,)))
        found[name] = None
    return list(found)


def _needed(stage: Stage) -> list[str]:
    """Names of the stages that `stage` starts from."""
    return [name for name in (*stage.init, stage.features_from) if name and name in STAGES]
