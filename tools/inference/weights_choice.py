"""Chooses the weight files of a network if the user names none."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pretrained.belonging import check_nothing_left_over
from pretrained.caffemodel import stored, write
from pretrained.weights import WEIGHTS, seen_in_training
from prototxt.experiments import STAGES, Stage
from prototxt.names import make_train
from prototxt.shapes import FRONT_END
from tools.support.errors import UserError
from tools.support.paths import PRETRAINED
from tools.training.run_folder import newest_snapshot


def add_weights_argument(parser: argparse.ArgumentParser) -> None:
    """Add --weights, the `given` files of find_weights()."""
    parser.add_argument(
        '--weights', action='append', type=Path, metavar='FILE',
        help='a caffemodel; for several: --weights A --weights B (default: newest snapshot, else pretrained/<net>.caffemodel)',
    )  # fmt: skip


def find_weights(net_name: str, start: str = 'data', given: list[Path] | None = None) -> list[Path]:
    """Files that together hold the layers of `net_name` after blob `start`, in the order to load them.

    The `given` files; else the newest snapshot of a stage that trains the network, after the weights that made that stage's
    maps; else pretrained/<net>.caffemodel. Raises UserError if a file is missing, if nothing is found, and for a file with
    layers that the network does not have.
    """
    for path in given or ():
        if not path.is_file():
            raise UserError(f'no weights at {path}')
    found = given or _trained(net_name, start) or [_pretrained(net_name)]
    check_nothing_left_over(net_name, found)
    return found


def say_weights(weights: Sequence[Path]) -> None:
    """Print the files on stderr: the user may not have chosen them."""
    print(f'weights: {" ".join(map(str, weights))}', file=sys.stderr)


def warn_if_seen(weights: Sequence[Path], dataset: str, split: str) -> None:
    """Warn on stderr if a released file was trained on images of the split: its score would be too high."""
    row = seen_in_training([path.name for path in weights], dataset, split)
    if row:
        print(
            f'warning: {row.file} was trained on images of {dataset} {split} ({row.saw_by}): a score there is too high, and '
            'make tables leaves it out; take a split that it has not seen (of VOC: --split test and tools/submit.py), or weights '
            'that were trained here without this one (make stages)',
            file=sys.stderr,
        )


def _trained(net_name: str, start: str) -> list[Path]:
    """Weight files of the stages that train `net_name`; empty if none has a snapshot."""
    found: dict[Path, Stage] = {}
    for stage_name, stage in STAGES.of(net_name).items():
        with suppress(UserError):
            found[newest_snapshot(stage_name)] = stage
    if not found:
        return []
    newest = max(found, key=lambda path: path.stat().st_mtime)
    return [*_below(found[newest], start), newest]


def _below(stage: Stage, start: str) -> list[Path]:
    """Files with the layers from blob `start` to the maps that `stage` was trained on."""
    source = stage.features_from
    if source is None or stage.start == start:
        return []
    if source in STAGES:
        return [*_below(STAGES[source], start), newest_snapshot(source)]
    return [_trunk(_pretrained(source), stage.start)]


def cut_from(path: Path, whole: Path) -> bool:
    """Whether `path` is `whole`, or a file beside it with its layers up to some blob."""
    names = [whole, *(whole.with_stem(f'{whole.stem}_{window.name}') for window in FRONT_END)]
    return path.absolute() in names or path.resolve() in [name.resolve() for name in names]


def _trunk(path: Path, start: str) -> Path:
    """`path`; if it has layers after blob `start`, a file beside it without them, because the net's fc6 may be narrower."""
    names = [window.name for window in FRONT_END]
    trunk = names[: names.index(start) + 1]
    held = stored(path)
    if not held.keys() - set(trunk):
        return path
    cut = path.with_stem(f'{path.stem}_{start}')
    if not cut.is_file() or cut.stat().st_mtime < path.stat().st_mtime:
        write(cut, {name: [blob.array() for blob in held[name]] for name in trunk if name in held})
    return cut


def _pretrained(name: str) -> Path:
    """pretrained/<name>.caffemodel. If it is missing, raises UserError with the commands that make it."""
    path = PRETRAINED / f'{name}.caffemodel'
    if not path.is_file():
        commands = [f'make weights-{row}' for row in WEIGHTS if row == name]
        commands += map(make_train, STAGES.of(name))
        raise UserError(f'no weights at {path}; run: {", or ".join(commands)}')
    return path
