"""The command that stores the maps for a stage: for chains, and for messages that say what to type."""

import shlex
from pathlib import Path

from pretrained.weights import WEIGHTS
from prototxt.experiments import NETS, STAGES, Stage
from prototxt.lmdb_names import lmdb_of, train_split
from prototxt.shapes import STRIDE
from tools.training.run_folder import newest_snapshot


def store_command(stage: Stage, split: str, data: Path, runs: Path) -> tuple[object, ...]:
    """The command that stores the maps of a split for a stage, with the folders of data sets and runs.

    The maps come from images, or from stored maps if the stage whose weights make them was trained on maps itself. Raises
    UserError if that stage has no weights yet.
    """
    maker = str(stage.features_from)
    net, weights = stage.net, WEIGHTS[maker].path if maker in WEIGHTS else newest_snapshot(runs / maker)
    source: tuple[object, ...] = '--data', data / NETS[net].folder, '--split', split
    source += ('--mirror',) if stage.mirror and split == train_split(stage) else ()
    source += () if stage.stored_label_stride == STRIDE else ('--label-stride', stage.stored_label_stride)
    if maker in STAGES:
        net = STAGES[maker].net
        source = source if STAGES[maker].start == 'data' else ('--features', data / lmdb_of(STAGES[maker], split))
    return (
        'tools/extract_features.py', '--net', net, '--weights', weights, '--blob', stage.start,
        '--out', data / lmdb_of(stage, split), *source,
    )  # fmt: skip


def how_to_store(stage: Stage, split: str, data: Path, runs: Path) -> str:
    """The command as typed in the checkout, after the commands that must run before it.

    Raises UserError as store_command().
    """
    maker = STAGES[str(stage.features_from)] if stage.features_from in STAGES else None
    command = shlex.join(['python3', *map(str, store_command(stage, split, data, runs))])
    if maker is None or maker.start == 'data' or (data / lmdb_of(maker, split) / 'data.mdb').is_file():
        return command
    return f'{how_to_store(maker, split, data, runs)} && {command}'
