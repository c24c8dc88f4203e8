"""The settings of one training run: a stage's row with the values from the command line."""

import fnmatch
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from dataset_prep.datasets import Dataset, dataset
from dataset_prep.lmdb_store import read_manifest
from prototxt.experiments import NETS, STAGES, Stage
from prototxt.framing import pixels_summed
from prototxt.lmdb_names import lmdb_of
from prototxt.names import resolve
from prototxt.networks import deploy
from prototxt.shapes import UPSAMPLINGS, param_shapes
from tools.support.errors import UserError
from tools.support.gpus import check_gpus
from tools.support.paths import DATA, RUNS
from tools.training.class_weights import Asked, read_weights
from tools.training.options import Options

VAL_SPLIT = 'val'  # images that snapshots are scored on by default
RANDOM_FC = ('fc6', 'fc7')  # layers that --random-fc starts from their fillers


@dataclass(frozen=True)
class Settings:
    """The settings of a run: the `options`, and what follows from them.

    `stage`: the row after overrides. `weights`: files that replace the row's `init`. `fresh`: layers that start from their
    fillers even if the weights hold them. `gpus`: empty on the CPU. `data`: the folder with the data sets.
    """

    stage_name: str
    stage: Stage
    options: Options
    lmdb: Path
    run_dir: Path
    weights: tuple[Path, ...] | None = None
    fresh: tuple[str, ...] = ()
    gpus: tuple[int, ...] = ()
    data: Path = DATA
    class_weights: Asked = None  # of the loss

    @property
    def val_split(self) -> str:
        """The split on which snapshots are scored."""
        return self.options.val_split or VAL_SPLIT

    @property
    def dataset(self) -> Dataset:
        """The data set that the stage's network is for."""
        return dataset(NETS[self.stage.net].dataset)

    @property
    def several_gpus(self) -> bool:
        """Whether a batch is spread over GPUs."""
        return len(self.gpus) > 1

    @property
    def batch_per_pass(self) -> int:
        """Images in one forward pass, on each GPU: Caffe's own batch_size."""
        return self.stage.batch_per_pass // max(1, len(self.gpus))

    @property
    def pixels_summed(self) -> int:
        """Number of pixels whose losses the reported loss adds up; 1 if it is their mean. For stored maps, read from the LMDB."""
        if self.stage.normalization == 'NONE' and self.stage.crop_size is None:
            return pixels_summed(self.stage, read_manifest(self.lmdb)['min_side_hw'])
        return pixels_summed(self.stage)

    def run_of(self, stage_name: str) -> Path:
        """The run folder of another stage: the one beside this run's folder if it exists, else the one in runs/."""
        beside = self.run_dir.parent / stage_name
        return beside if beside.exists() else RUNS / stage_name


def settings(stage_name: str, options: Options) -> Settings:
    """The settings of a stage's run. Relative paths start at the current folder.

    Raises UserError for options that contradict each other, and for a GPU that Caffe cannot use.
    """
    name = resolve(stage_name, STAGES, 'stage')
    gpus = check_gpus(options.gpu) if options.gpu else ()
    data = Path(options.data).absolute() if options.data else DATA
    if len(gpus) > 1 and NETS[STAGES[name].net].python_layers:
        raise UserError(f'{name} has layers in Python, which Caffe trains on one GPU only: --gpu {gpus[0]} (GPU={gpus[0]})')
    stage, weights = _override(STAGES[name], options, len(gpus) or 1), options.weights
    facts = dataset(NETS[stage.net].dataset)
    return Settings(
        stage_name=name,
        stage=stage,
        options=options,
        lmdb=Path(options.lmdb).absolute() if options.lmdb else default_lmdb(STAGES[name], stage, data),
        run_dir=Path(options.run_dir).absolute() if options.run_dir else RUNS / name,
        weights=tuple(path.absolute() for word in weights for path in _files(word)) if weights else None,
        fresh=_layers_of(stage.net, options.fresh) if options.fresh else (),
        gpus=gpus,
        class_weights=read_weights(options.class_weights, facts) if options.class_weights else None,
        data=data,
    )


def _layers_of(net_name: str, asked: str) -> tuple[str, ...]:
    """The layers of a network that `asked` names, separated by blanks or commas. It may hold patterns such as ctx_*."""
    names = [name for name in param_shapes(deploy(net_name)) if name not in UPSAMPLINGS]
    found: list[str] = []
    for word in asked.replace(',', ' ').split():
        if not (fits := fnmatch.filter(names, word)):
            raise UserError(f'--fresh {word}: {net_name} has no such layer; there are: {", ".join(names)}')
        found += fits
    return tuple(dict.fromkeys(found))


def _files(word: str) -> list[Path]:
    """The file that a word names, or several files in one word separated by blanks, as in make's WEIGHTS=."""
    if Path(word).exists() or ' ' not in word:
        return [Path(word)]
    try:
        return [Path(part).expanduser() for part in shlex.split(word)]
    except ValueError:  # an unbalanced apostrophe
        return [Path(word)]


def default_lmdb(row: Stage, stage: Stage, data: Path = DATA) -> Path:
    """The LMDB of the stage's training split: that of the user's crop_size if it exists, else the row's."""
    own = data / lmdb_of(stage)
    return own if own.exists() or row.start != 'data' else data / lmdb_of(row)


def _override(row: Stage, asked: Options, devices: int) -> Stage:
    """The row with the fields that options replace, and with the passes and snapshots that follow from all options."""
    if asked.crop_size and row.crop_size is None:
        raise UserError(f'--crop-size {asked.crop_size}: this stage trains on whole maps; leave it out')
    share = _share(asked.batch or row.batch_size, devices)
    iter_size = share // per_pass(row, share, asked.batch_per_pass)
    return replace(row, **asked.in_row(), iter_size=iter_size, snapshot=_snapshot(row, asked))


def _snapshot(row: Stage, asked: Options) -> int:
    """Iterations between snapshots: as asked, or those of --val-every if the row's do not fit them, or the row's."""
    if asked.snapshot:
        return asked.snapshot
    return asked.val_every if asked.val_every and asked.val_every % row.snapshot else row.snapshot


def _share(batch_size: int, devices: int) -> int:
    """Images of a batch for each GPU, so that all GPUs together see the batch of the row."""
    if batch_size % devices:
        raise UserError(f'a batch of {batch_size} does not split over {devices} GPUs; give another --batch (BATCH=)')
    return batch_size // devices


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`."""
    return max(count for count in range(1, most + 1) if number % count == 0)


def per_pass(row: Stage, batch_size: int, asked: int | None) -> int:
    """Images in one forward pass: as asked, or the largest divisor of the batch that is at most the row's value."""
    if asked is None:
        return largest_divisor(batch_size, row.batch_per_pass)
    if batch_size % asked:
        raise UserError(f'--batch-per-pass {asked}: a batch of {batch_size} does not split into passes of {asked}')
    return asked
