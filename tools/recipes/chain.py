"""Runs a chain of stages as steps: starting weights, stages, and stored maps between them. Finished steps are skipped."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from dataset_prep.records import load_split
from pretrained.weights import WEIGHTS
from prototxt.chains import stages_of
from prototxt.experiments import NETS, STAGES, Stage
from prototxt.lmdb_names import train_split
from tools.recipes.steps import TRAIN_ANEW, Steps
from tools.support.errors import UserError
from tools.support.gpus import check_gpus
from tools.support.paths import DATA, RUNS
from tools.training.options import EACH, ONE, Options, words_of
from tools.training.preflight import check_images_beside, check_lmdb
from tools.training.run_folder import TRAIN_PROTOTXT
from tools.training.settings import RANDOM_FC, VAL_SPLIT, Settings, largest_divisor, settings
from tools.training.storing import store_command
from tools.training.validation import check_validation


def follow(name: str, last: tuple[str, ...], options: Options) -> None:
    """Train the stages that lead to `last`, and store the maps that some of them train on.

    Raises UserError for an option of a single stage, for a file that a later stage lacks (before the first stage begins), and for
    a step that fails.
    """
    for option in options.given(ONE):
        raise UserError(f'--{option.replace("_", "-")} is for one stage, and {name} is several: {", ".join(stages_of(last))}')
    chain = Chain(name, last, options)
    for stage in chain.stages:
        chain.check(stage, settings(stage, chain.options(stage)))
    chain.follow()


class Chain:
    """The steps of a chain as commands of this toolkit."""

    def __init__(self, name: str, last: tuple[str, ...], options: Options) -> None:
        self.stages, self._asked = stages_of(last), options
        self._runs = Path(options.runs).absolute() if options.runs else RUNS
        self._data = Path(options.data).absolute() if options.data else DATA
        self._gpus = check_gpus(options.gpu) if options.gpu else ()
        self._stored: set[object] = set()  # two stages may train on the same maps, if their nets have the same trunk
        self._steps = Steps(self._runs / f'chain-{name}.json', TRAIN_ANEW)

    def check(self, name: str, asked: Settings) -> None:
        """Raise UserError if a stage lacks something that no step makes: images, their LMDBs, or validation data."""
        run_is_there = (asked.run_dir / TRAIN_PROTOTXT).exists()  # a run that exists has its own checks, and its data may be gone
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
        """Run all steps."""
        for name in dict.fromkeys(source for stage in self.stages for source in _files(STAGES[stage])):
            if not WEIGHTS[name].path.is_file():
                words = (f'pretrained.{name}',) if WEIGHTS[name].made_by else ('pretrained.fetch', name)
                self._steps.do(f'Weights to start from: {name}', '-m', *words)
        for name in self.stages:
            self.train(name)

    def train(self, name: str, **changes: Any) -> None:
        """Store the maps of a stage and train it. `changes`: options for this stage only."""
        self.store_maps(name)
        self._steps.do(f'Train {name}', 'tools/train.py', name, *words_of(replace(self.options(name), **changes)))

    def store_maps(self, name: str) -> None:
        """Store the maps that a stage trains and is scored on; nothing for a stage on images."""
        stage = STAGES[name]
        if stage.start == 'data':
            return
        self._store(stage, train_split(stage))
        if self._asked.val_every:
            self._store(stage, self._asked.val_split or VAL_SPLIT)

    def _store(self, stage: Stage, split: str) -> None:
        """Store the maps of one split."""
        command = store_command(stage, split, self._data, self._runs)
        place = command[command.index('--out') + 1]
        if place in self._stored:
            return
        self._stored.add(place)
        gpu = ('--gpu', self._gpus[0]) if self._gpus else ()
        self._steps.do(f'Store {stage.start} of the {split} images', *command, *gpu)

    def options(self, name: str) -> Options:
        """The options of one stage.

        If a batch does not split over all GPUs, fewer GPUs get it; a net with Python layers gets one GPU. With --batch-per-pass a
        stage takes the largest number of images that divides its batch.
        """
        stage, asked = STAGES[name], self._asked
        most = 1 if NETS[stage.net].python_layers else len(self._gpus)
        gpus = self._gpus[: largest_divisor(stage.batch_size, most)] if self._gpus else ()
        per_pass = None
        if asked.batch_per_pass:
            images = min(asked.batch_per_pass, stage.batch_per_pass)
            per_pass = largest_divisor(stage.batch_size // max(1, len(gpus)), images)
        from_file = set(stage.init) & set(WEIGHTS) and not set(RANDOM_FC) & set(stage.fresh)
        return Options(
            **asked.given(EACH),
            run_dir=str(self._runs / name) if asked.runs else None,
            data=str(self._data) if asked.data else None,
            gpu=gpus or None,
            batch_per_pass=per_pass,
            random_fc=bool(asked.random_fc and from_file),
        )


def _files(stage: Stage) -> list[str]:
    """The weight files that a stage needs and that no stage makes."""
    return [name for name in (*stage.init, stage.features_from) if name in WEIGHTS]
