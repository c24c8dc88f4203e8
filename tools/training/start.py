"""Writes the files of a run and makes the command that starts Caffe."""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from prototxt import networks
from prototxt.solver import solver
from tools.support.paths import CAFFE
from tools.training import record, record_order, run_folder
from tools.training.class_weights import ClassWeights, write_matrix
from tools.training.initial import without_fresh
from tools.training.settings import Settings
from tools.training.snapshots import Snapshot, delete_all, snapshots
from tools.training.training_bar import say


@dataclass(frozen=True)
class Start:
    """One start of Caffe: first iteration and record, command line, and additional environment variables."""

    iteration: int
    first_record: int
    command: list[str]
    variables: dict[str, str]


def prepare(
    settings: Settings, net, resumed: Snapshot | None, manifest: dict, weights: list[Path],
    class_weights: ClassWeights | None = None,
) -> Start:  # fmt: skip
    """Write the files of the run and delete incomplete snapshots after `resumed`; returns how to start Caffe.

    A new run starts from `weights`.
    """
    run_dir, iteration = settings.run_dir, resumed.iteration if resumed else 0
    begun = record.read_record(run_dir) if resumed else record.begin(settings, net, weights, manifest, class_weights)
    first = record_order.first_record(iteration, settings.stage.batch_size, manifest['count'])
    variables = _skip_to(first)
    command = _command(settings, without_fresh(settings, weights, run_dir), resumed)
    start = Start(iteration, first if variables else 0, command, variables)
    if class_weights:
        write_matrix(run_dir, class_weights)
    networks.write(net, run_dir / run_folder.TRAIN_PROTOTXT)
    networks.write(_solver(settings, iteration), run_dir / run_folder.SOLVER_PROTOTXT)
    session = record.session(start.command, iteration, start.first_record, settings)
    record.write_record(run_dir, begun | {'sessions': [*begun['sessions'], session]})
    delete_all(snapshot for snapshot in snapshots(run_dir) if snapshot.iteration > iteration)
    return start


def _command(settings: Settings, weights: list[Path], resumed: Snapshot | None) -> list[str]:
    """The command line of Caffe. It runs in the run folder, so that the folder can be moved."""
    command = [str(CAFFE), 'train', '--solver', run_folder.SOLVER_PROTOTXT]
    if resumed:
        command += ['--snapshot', resumed.solverstate.name]
    elif weights:
        command += ['--weights', ','.join(map(str, weights))]
    if settings.gpus:
        command += ['--gpu', ','.join(map(str, settings.gpus))]
    if settings.several_gpus:
        command += ['--sigint_effect', 'snapshot']  # with 'stop' the first GPU's thread ends and the others wait forever
    return command


def _solver(settings: Settings, start: int):
    """SolverParameter of the run from iteration `start`.

    Caffe displays each iteration, so that short runs have a curve too. Caffe seeds its random numbers at its start. A session
    that continues gets another seed. With the same seed it would repeat the crops and dropout of the first session.
    Several GPUs add their gradients layer by layer during a pass. The next pass of a split batch must not begin before that ends.
    """
    stage = settings.stage
    if stage.random_seed is not None:
        stage = replace(stage, random_seed=stage.random_seed + start)
    message = solver(stage, run_folder.TRAIN_PROTOTXT, settings.stage_name, display=1, gpu=bool(settings.gpus))
    if settings.several_gpus and stage.iter_size > 1:
        message.layer_wise_reduce = False
    return message


def _skip_to(first: int) -> dict[str, str]:
    """Environment variables that make Caffe begin with record `first`; a line on stderr if that is impossible."""
    try:
        return record_order.variables(first)
    except (OSError, subprocess.CalledProcessError) as error:
        say_order_lost(first, f'{record_order.SOURCE.name} ({error})')
        return {}


def say_order_lost(first: int, reason: str) -> None:
    """Print a line on stderr: Caffe does not begin with the right record."""
    say(f'Caffe begins at the first record again, not at number {first}: {reason}')
