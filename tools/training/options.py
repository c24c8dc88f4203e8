"""The options of a training, each declared once, as a field of Options. tools/train.py, make and the chains read them here.

`python3 -m tools.training.options` prints them for the Makefile. This module only imports the standard library.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tools.support.arguments import positive, positive_number
from tools.support.errors import UserError
from tools.support.gpus import ALL, gpu_list

# In a chain: every stage gets the option, the option is refused, or the chain itself uses it.
EACH, ONE, CHAIN = 'of each stage', 'of one stage', 'of the chain'


def _rate(text: str) -> float:
    """A learning rate: above 0, at most 1."""
    if not 0 < (rate := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not in (0, 1]')
    return rate


def _class_weights(text: str) -> str:
    """The word `median`, or the absolute path of a file: a chain passes it to commands that run in the checkout."""
    return text if text == 'median' else str(Path(text).absolute())


def _option(
    kind: Callable[[str], Any] | None, metavar: str, help: str, *, of: str = EACH, replaces: str = '', default: Any = None,
    several: bool = False, make: bool = True,
) -> Any:  # fmt: skip
    """A field of Options. `kind` converts the word on the command line; None means a switch. `make`: also a variable of make.

    `replaces`: the field of the stage's row that the value takes the place of, if it is as simple as that.
    """
    facts = {'kind': kind, 'metavar': metavar, 'help': help, 'of': of, 'replaces': replaces, 'several': several, 'make': make}
    return field(default=False if kind is None else default, metadata=facts)


@dataclass(frozen=True)
class Options:
    """What the user asks of a training besides the stage. None means the value of the stage's row."""

    chain: bool = _option(None, '', 'first run the unfinished steps that the stage starts from', of=CHAIN)
    iters: int | None = _option(positive, 'N', "last iteration (default: the row's)", replaces='max_iter')
    batch: int | None = _option(positive, 'N', "images per update (default: the row's)", of=ONE, replaces='batch_size')
    batch_per_pass: int | None = _option(
        positive, 'N', 'images in memory at once, a divisor of the batch (in a chain: at most N, a divisor for each stage)',
        of=CHAIN,
    )  # fmt: skip
    crop_size: int | None = _option(
        positive, 'PIXELS', "side of the crop, 372 + 8 n (default: the row's)", of=ONE, replaces='crop_size'
    )
    base_lr: float | None = _option(_rate, 'RATE', "learning rate at the start (default: the row's)", of=ONE, replaces='base_lr')
    seed: int | None = _option(
        positive, 'N', "seed of Caffe's random numbers (default: the row's; without one, the clock)", replaces='random_seed'
    )
    gpu: tuple[int, ...] | str | None = _option(
        gpu_list, 'N', 'number of a GPU; 0,1 or all: share the batch among several (default: the CPU)', of=CHAIN
    )
    weights: list[str] | None = _option(str, 'FILE', "caffemodels to start from, in place of the row's", of=ONE, several=True)
    fresh: str | None = _option(
        str, 'LAYERS',
        "layers that are not taken from --weights, for another number of classes: final or 'final,ctx_*'",
        of=ONE,
    )  # fmt: skip
    random_fc: bool = _option(None, '', 'start fc6 and fc7 from random values (msra filler)', of=CHAIN)
    restart: bool = _option(None, '', 'move an existing run aside and begin anew', of=ONE)
    upsample_loss: bool = _option(
        None, '', 'upsample the scores by 8 and take the loss over the labels of all pixels', of=ONE, replaces='upsample_loss'
    )
    class_weights: str | None = _option(
        _class_weights, 'median|FILE',
        'class weights in the loss: median (frequency balancing), or a file with a class and its weight per line (default: none)',
    )  # fmt: skip
    snapshot: int | None = _option(positive, 'N', "iterations between snapshots (default: the row's)")
    keep: int = _option(positive, 'N', 'number of snapshots to keep (default: %(default)s)', default=2)
    max_loss: float | None = _option(positive_number, 'LOSS', 'stop if the loss stays above this (default: 3 ln C per pixel)')
    val_every: int | None = _option(positive, 'N', 'score the snapshot of every N-th iteration by mean IoU during the training')
    val_split: str | None = _option(str, 'NAME', 'split that snapshots are scored on (default: val)')
    val_limit: int | None = _option(positive, 'N', 'score only the first N images of that split')
    tensorboard: bool = _option(None, '', 'write event files for TensorBoard (needs tensorboardX)')
    lmdb: str | None = _option(
        str, 'DIR', 'default: data/<data set>/train_<crop_size>; stored maps: train_<blob>_<stage>', of=ONE, make=False
    )
    data: str | None = _option(str, 'DIR', 'folder with a folder for each data set (default: data/)', of=CHAIN, make=False)
    run_dir: str | None = _option(str, 'DIR', 'run folder (default: runs/STAGE)', of=ONE, make=False)
    runs: str | None = _option(str, 'DIR', 'folder for the run folders of a chain (default: runs/)', of=CHAIN, make=False)

    def check(self, *, several: bool) -> None:
        """Raise UserError for an option that needs another one. `several`: whether several stages are trained."""
        if self.runs and not several:
            raise UserError('--runs is only for a chain; give --run-dir, or add --chain')
        for name in ('val_split', 'val_limit'):
            if getattr(self, name) and not self.val_every:
                raise UserError(f'{_flag(name)} has no effect without --val-every (VAL_EVERY=); add it')

    def given(self, *of: str) -> dict[str, Any]:
        """The options of the named kinds (EACH, ONE, CHAIN) that are not at their defaults."""
        chosen = (row for row in fields(self) if row.metadata['of'] in of)
        return {row.name: value for row in chosen if (value := getattr(self, row.name)) != row.default}

    def in_row(self) -> dict[str, Any]:
        """The given options that replace a field of the stage's row, by that field."""
        given = self.given(EACH, ONE, CHAIN)
        return {field: given[name] for field, name in REPLACED.items() if name in given}


REPLACED = {row.metadata['replaces']: row.name for row in fields(Options) if row.metadata['replaces']}  # field -> option


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare all options in an argparse parser."""
    for row in fields(Options):
        facts = row.metadata
        if facts['kind'] is None:
            parser.add_argument(_flag(row.name), action='store_true', help=facts['help'])
        else:
            parser.add_argument(
                _flag(row.name), type=facts['kind'], default=row.default, metavar=facts['metavar'], help=facts['help'],
                nargs='+' if facts['several'] else None,
            )  # fmt: skip


def options_of(args: argparse.Namespace) -> Options:
    """The options of a parsed command line."""
    return Options(**{row.name: getattr(args, row.name) for row in fields(Options)})


def words_of(options: Options) -> list[str]:
    """The words of a command line with these options; options at their defaults are left out."""
    words: list[str] = []
    for name, value in options.given(EACH, ONE, CHAIN).items():
        words.append(_flag(name))
        if value is True:
            continue
        if name == 'gpu' and value != ALL:
            words.append(','.join(map(str, value)))
        else:
            words += map(str, value) if isinstance(value, list) else [str(value)]
    return words


def flag_and_variable(name: str) -> str:
    """How an option is typed, for messages: --val-every (VAL_EVERY=)."""
    return f'{_flag(name)} ({name.upper()}=)'


def _flag(name: str) -> str:
    return '--' + name.replace('_', '-')


def for_make() -> str:
    """The options that are variables of make, for its function `options`: --iters=ITERS --restart:RESTART."""
    rows = [row for row in fields(Options) if row.metadata['make']]
    return ' '.join(f'{_flag(row.name)}{":" if row.metadata["kind"] is None else "="}{row.name.upper()}' for row in rows)


if __name__ == '__main__':
    print(for_make())
