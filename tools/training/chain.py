"""A chain of stages as steps: weights to start from, each stage, stored maps between them. What is done is not done again."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from dataset_prep.records import load_split
from pretrained.weights import WEIGHTS
from prototxt.chains import stages_of
from prototxt.experiments import NETS, STAGES, Stage
from prototxt.lmdb_names import train_split
from tools.recipe import TRAIN_ANEW, Recipe
from tools.support.errors import UserError
from tools.support.gpus import check_gpus
from tools.support.paths import DATA, RUNS
from tools.training.preflight import check_images_beside, check_lmdb
from tools.training.runs import TRAIN_PROTOTXT
from tools.training.settings import RANDOM_FC, VAL_SPLIT, Settings, largest_divisor, settings
from tools.training.storing import store_command
from tools.training.validation import check_validation

_OF_ONE_STAGE = ('lmdb', 'weights', 'fresh', 'run_dir', 'batch', 'crop_size', 'base_lr', 'upsample_loss', 'restart')
_WITHOUT_SCORES = ('iters', 'snapshot', 'keep', 'max_loss', 'class_weights')
_PASSED_ON = (*_WITHOUT_SCORES, 'val_every', 'val_split', 'val_limit')


def follow(name: str, last: tuple[str, ...], args: Namespace, parse_args: Callable[[list[str]], Namespace]) -> None:
    """Train the stages that end in `last`, storing the maps that some train on.

    `args` is the command line of tools/train.py as `parse_args` gave it. Raises UserError for an option that is for one stage,
    for what a later stage lacks before the first begins, and for the step that fails.
    """
    for option in _OF_ONE_STAGE:
        if getattr(args, option):
            raise UserError(f'--{option.replace("_", "-")} is for one stage, and {name} is several: {", ".join(stages_of(last))}')
    chain = Chain(name, last, args)
    for stage in chain.stages:
        chain.check(stage, settings(parse_args([stage, *chain.options(stage)])))
    chain.follow()


class Chain:
    """The steps of a chain as commands of this toolkit."""

    def __init__(self, name: str, last: tuple[str, ...], args: Namespace) -> None:
        self.stages, self._args = stages_of(last), args
        self._runs = Path(args.runs).absolute() if args.runs else RUNS
        self._data = Path(args.data).absolute() if args.data else DATA
        self._gpus = check_gpus(args.gpu) if args.gpu else ()
        self._stored: set[tuple[object, ...]] = set()  # two stages may train on the same maps
        self._recipe = Recipe(self._runs / f'chain-{name}.json', TRAIN_ANEW)

    def check(self, name: str, asked: Settings) -> None:
        """Raise UserError if a stage lacks what no step before it makes: images, or LMDBs of them, and what it is scored on."""
        run_is_there = (asked.run_dir / TRAIN_PROTOTXT).exists()  # which has its own checks, and may have outlived its data
        if run_is_there:
            return
        if STAGES[name].start == 'data':
            check_lmdb(asked)
        elif not asked.lmdb.is_dir():
            load_split(self._data / NETS[asked.stage.net].folder, train_split(asked.stage))
        if STAGES[name].beside_images:
            check_images_beside(asked)
        check_validation(asked, maps_to_come=True)

    def follow(self) -> None:
        """Do all steps."""
        for name in dict.fromkeys(source for stage in self.stages for source in _files(STAGES[stage])):
            if not WEIGHTS[name].path.is_file():
                words = (f'pretrained.{name}',) if WEIGHTS[name].made_by else ('pretrained.fetch', name)
                self._recipe.do(f'Weights to start from: {name}', '-m', *words)
        for name in self.stages:
            self.train(name)

    def train(self, name: str, *more: object) -> None:
        """Store the maps that a stage trains on, and train it; `more` are options of tools/train.py for this stage alone."""
        self.store_maps(name)
        self._recipe.do(f'Train {name}', 'tools/train.py', name, *self.options(name), *more)

    def store_maps(self, name: str) -> None:
        """The maps that a stage trains on, and those that its snapshots are scored on; none for a stage on images."""
        stage = STAGES[name]
        if stage.start == 'data':
            return
        self._store(stage, train_split(stage))
        if self._args.val_every:
            self._store(stage, self._args.val_split or VAL_SPLIT)

    def _store(self, stage: Stage, split: str) -> None:
        """The maps of one split."""
        command = store_command(stage, split, self._data, self._runs)
        if command in self._stored:
            return
        self._stored.add(command)
        gpu = ('--gpu', self._gpus[0]) if self._gpus else ()
        self._recipe.do(f'Store {stage.start} of the {split} images', *command, *gpu)

    def options(self, name: str) -> list[str]:
        """The options of tools/train.py for one stage. A batch that does not split over all GPUs is given to fewer, a net with
        layers in Python to one; of --batch-per-pass a stage takes as many images as divide its batch."""
        stage, given = STAGES[name], vars(self._args)
        words: list[object] = ['--run-dir', self._runs / name] if given['runs'] else []
        words += ['--data', self._data] if given['data'] else []
        for option in _PASSED_ON if given['val_every'] else _WITHOUT_SCORES:
            if given[option] is not None:
                words += [f'--{option.replace("_", "-")}', given[option]]
        fitting = 1
        if self._gpus:
            most = 1 if NETS[stage.net].python_layers else len(self._gpus)
            fitting = largest_divisor(stage.batch_size, most)
            words += ['--gpu', ','.join(map(str, self._gpus[:fitting]))]
        if given['batch_per_pass']:
            most = min(given['batch_per_pass'], stage.batch_per_pass)
            words += ['--batch-per-pass', largest_divisor(stage.batch_size // fitting, most)]
        words += ['--tensorboard'] if self._args.tensorboard else []
        from_file = set(stage.init) & set(WEIGHTS) and not set(RANDOM_FC) & set(stage.fresh)
        words += ['--random-fc'] if self._args.random_fc and from_file else []
        return [str(word) for word in words]


def _files(stage: Stage) -> list[str]:
    """The weights that one starts from, or that made its maps, and that no stage makes."""
    return [name for name in (*stage.init, stage.features_from) if name in WEIGHTS]
