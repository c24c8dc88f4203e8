"""What one training run is to do: a stage's row with the values from the command line put in."""

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

VAL_SPLIT = 'val'  # that snapshots are scored on where nothing is said
RANDOM_FC = ('fc6', 'fc7')  # the layers that --random-fc starts from their filler


@dataclass(frozen=True)
class Settings:
    """A run as asked for. `stage` is the row after overrides; `weights` are files given in place of the row's `init`."""

    stage_name: str
    stage: Stage
    lmdb: Path
    run_dir: Path
    weights: tuple[Path, ...] | None = None
    random_fc: bool = False
    fresh: tuple[str, ...] = ()  # layers that start anew, whatever the weights have of them
    gpus: tuple[int, ...] = ()  # none: the CPU
    keep: int = 2
    restart: bool = False
    data: Path = DATA  # the folder of the data sets' own
    val_every: int | None = None  # iterations between snapshots that are scored; None: none is
    val_split: str = VAL_SPLIT
    val_limit: int | None = None  # images that are scored; None: all
    tensorboard: bool = False
    class_weights: Asked = None  # of the loss
    max_loss: float | None = None  # above which training is stopped; None: tools.training.watch

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
        """How many pixels' losses the reported loss is the sum of; 1 if it is their mean. Of stored maps the LMDB says it."""
        if self.stage.normalization == 'NONE' and self.stage.crop_size is None:
            return pixels_summed(self.stage, read_manifest(self.lmdb)['min_side_hw'])
        return pixels_summed(self.stage)

    def run_of(self, stage_name: str) -> Path:
        """The run folder of another stage: the one beside this run's if it is there, else the one in runs/."""
        beside = self.run_dir.parent / stage_name
        return beside if beside.exists() else RUNS / stage_name


def settings(args) -> Settings:
    """Settings from the parsed command line of tools/train.py; relative paths are taken from the current folder.

    Raises UserError for what does not fit together, and for a GPU that Caffe cannot use.
    """
    name = resolve(args.stage, STAGES, 'stage')
    gpus = check_gpus(args.gpu) if args.gpu else ()
    data = Path(args.data).absolute() if args.data else DATA
    if len(gpus) > 1 and NETS[STAGES[name].net].python_layers:
        raise UserError(f'{name} has layers in Python, which Caffe trains on one GPU only: --gpu {gpus[0]} (GPU={gpus[0]})')
    stage = _override(STAGES[name], args, len(gpus) or 1)
    facts = dataset(NETS[stage.net].dataset)
    return Settings(
        stage_name=name,
        stage=stage,
        lmdb=Path(args.lmdb).absolute() if args.lmdb else default_lmdb(STAGES[name], stage, data),
        run_dir=Path(args.run_dir).absolute() if args.run_dir else RUNS / name,
        weights=tuple(path.absolute() for word in args.weights for path in _files(word)) if args.weights else None,
        random_fc=args.random_fc,
        fresh=_layers_of(stage.net, args.fresh) if args.fresh else (),
        gpus=gpus,
        keep=args.keep,
        restart=args.restart,
        class_weights=read_weights(args.class_weights, facts) if args.class_weights else None,
        max_loss=args.max_loss,
        data=data,
        val_every=args.val_every,
        val_split=args.val_split or VAL_SPLIT,
        val_limit=args.val_limit,
        tensorboard=args.tensorboard,
    )


def _layers_of(net_name: str, asked: str) -> tuple[str, ...]:
    """The layers of a network that the words of `asked` name, with blanks or commas between them; ctx_* is all that begin so."""
    names = [name for name in param_shapes(deploy(net_name)) if name not in UPSAMPLINGS]
    found: list[str] = []
    for word in asked.replace(',', ' ').split():
        if not (fits := fnmatch.filter(names, word)):
            raise UserError(f'--fresh {word}: {net_name} has no such layer; there are: {", ".join(names)}')
        found += fits
    return tuple(dict.fromkeys(found))


def _files(word: str) -> list[Path]:
    """The file that a word names, or the several that one word names with blanks between them, as make's WEIGHTS= gives them."""
    if Path(word).exists() or ' ' not in word:
        return [Path(word)]
    try:
        return [Path(part).expanduser() for part in shlex.split(word)]
    except ValueError:  # an apostrophe without its other
        return [Path(word)]


def default_lmdb(row: Stage, stage: Stage, data: Path = DATA) -> Path:
    """The LMDB of the stage's training split; one with a crop_size of the user's own is cut from the row's unless it is there."""
    own = data / lmdb_of(stage)
    return own if own.exists() or row.start != 'data' else data / lmdb_of(row)


def _override(row: Stage, args, devices: int) -> Stage:
    """The row with iterations, batch, crop, rate, seed, snapshot interval and kind of loss replaced where they are given."""
    if args.crop_size and row.crop_size is None:
        raise UserError(f'--crop-size {args.crop_size}: this stage trains on whole maps; leave it out')
    batch = args.batch or row.batch_size
    share = _share(batch, devices)
    given = {
        'max_iter': args.iters, 'crop_size': args.crop_size, 'base_lr': args.base_lr, 'random_seed': args.seed,
        'snapshot': args.snapshot or _scored(row, args),
        'upsample_loss': args.upsample_loss or None,
        'batch_size': batch, 'iter_size': share // per_pass(row, share, args.batch_per_pass),
    }  # fmt: skip
    return replace(row, **{field: value for field, value in given.items() if value is not None})


def _scored(row: Stage, args) -> int | None:
    """Iterations between snapshots where those of the row are not the ones that --val-every scores."""
    return args.val_every if args.val_every and args.val_every % row.snapshot else None


def _share(batch_size: int, devices: int) -> int:
    """Images of a batch for each device, so that all of them together see the batch of the row."""
    if batch_size % devices:
        raise UserError(f'a batch of {batch_size} does not split over {devices} GPUs; give another --batch (BATCH=)')
    return batch_size // devices


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is not above `most`."""
    return max(count for count in range(1, most + 1) if number % count == 0)


def per_pass(row: Stage, batch_size: int, asked: int | None) -> int:
    """Images in one forward pass: as asked, or the most that divide the batch and do not exceed the row's (memory)."""
    if asked is None:
        return largest_divisor(batch_size, row.batch_per_pass)
    if batch_size % asked:
        raise UserError(f'--batch-per-pass {asked}: a batch of {batch_size} does not split into passes of {asked}')
    return asked
