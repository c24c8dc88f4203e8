"""One call of tools/train.py: decides whether a run begins or continues, checks everything, and runs Caffe."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from dataset_prep.lmdb_writer import read_manifest
from pretrained.caffemodel import read_net
from prototxt import networks
from prototxt.experiments import STAGES
from tools.netinfo.fit import warn_of_memory
from tools.support.blas_in_use import warn_of_slow_kernel
from tools.support.cpu_engine import warn_of_missing_engine
from tools.support.errors import UserError
from tools.support.stop_signals import STOPPED
from tools.training import preflight, process, record, run_folder
from tools.training.class_weights import MATRIX, ClassWeights, as_text, count_weights
from tools.training.events import check_tensorboard
from tools.training.failure import system_failure
from tools.training.initial import weight_files
from tools.training.metrics import Metrics
from tools.training.plot import draw
from tools.training.scores import read_scores
from tools.training.settings import Settings
from tools.training.snapshots import Snapshot, fault, newest_whole, snapshots, whole_caffemodel, whole_snapshots
from tools.training.start import Start, prepare
from tools.training.supervisor import Supervisor
from tools.training.training_bar import say
from tools.training.validation import Validation, check_validation


def train(settings: Settings) -> int:
    """Train a stage to its last iteration, from the start or from its newest snapshot; returns 0, or 130 after a stop.

    Raises UserError if it cannot start or fails.
    """
    process.check_program()
    stage = settings.stage
    net = networks.training(
        settings.stage_name, str(settings.lmdb), stage.crop_size, settings.batch_per_pass, stage.upsample_loss,
        MATRIX if settings.class_weights else None,
    )  # fmt: skip
    with ExitStack() as locks:
        lock = locks.enter_context(run_folder.locked(settings.run_dir))
        resumed = _resumed(settings, net)
        if resumed and resumed.iteration >= stage.max_iter:
            print(f'{settings.stage_name} is already at iteration {resumed.iteration}: {resumed.caffemodel}')
            _end_well(settings, net, resumed)
            return 0
        warn_of_slow_kernel()
        warn_of_missing_engine()
        made = Path(locks.enter_context(TemporaryDirectory()))
        manifest, weights = _checked(settings, net, resumed, made)
        class_weights = _class_weights(settings, resumed)
        if settings.options.restart and run_folder.move_aside(settings.run_dir):
            lock = locks.enter_context(run_folder.locked(settings.run_dir))
        with _refusals_named(settings.run_dir):
            start = prepare(settings, net, resumed, manifest, _kept(weights, made, settings.run_dir), class_weights)
        return _run(settings, net, start, lock, class_weights)


@contextmanager
def _refusals_named(run_dir: Path) -> Iterator[None]:
    """Turn a system error in the block into a UserError that names the file and the next step."""
    try:
        yield
    except OSError as error:
        raise UserError(system_failure(error, run_dir)) from error


def _run(settings: Settings, net, start: Start, lock: int, class_weights: ClassWeights | None) -> int:
    """Run Caffe to its end, and report and record the outcome; returns the exit status."""
    try:
        with _refusals_named(settings.run_dir):
            last = Supervisor(settings, net, class_weights).run(start, lock)
    except KeyboardInterrupt:  # Caffe has not run yet, or the last snapshots are being scored
        record.end_session(settings.run_dir, record.STOPPED)
        raise
    except UserError as error:
        with suppress(OSError):  # the disk may be full
            record.end_session(settings.run_dir, f'{record.FAILED}: {error}')
        raise
    finished = last is not None and last.iteration >= settings.stage.max_iter
    record.end_session(settings.run_dir, record.FINISHED if finished else record.STOPPED)
    _report(settings, last)
    return 0 if finished else STOPPED


def _report(settings: Settings, last: Snapshot | None) -> None:
    """Print the progress of the run and the paths of its files."""
    run_dir, end = settings.run_dir, settings.stage.max_iter
    reached, where = (last.iteration, last.caffemodel) if last else (0, 'no snapshot')
    print(f'{settings.stage_name}: iteration {reached} of {end}, {where}')
    print(f'curve: {run_dir / run_folder.PLOT}  rows: {run_dir / run_folder.METRICS}  log: {run_dir / run_folder.LOG}')
    if reached < end:
        print(f'stopped; the same command{", without --restart," if settings.options.restart else ""} goes on from there')
    if waiting := len(Validation(settings).waiting()):
        print(f'snapshots that wait to be scored: {waiting}; the same command scores them')


def _end_well(settings: Settings, net, last: Snapshot) -> None:
    """Complete a run whose training is done, but whose last steps a stop or kill prevented."""
    before = read_scores(settings.run_dir)
    _score_rest(settings, net)
    if record.note_finished(settings.run_dir, last.iteration) or read_scores(settings.run_dir) != before:
        draw(settings, Metrics(settings.run_dir / run_folder.METRICS, settings.run_dir / run_folder.LOG).rows)


def _score_rest(settings: Settings, net) -> None:
    """Score the snapshots that are left."""
    check_validation(settings)
    validation = Validation(settings)
    try:
        validation.note(whole_snapshots(settings.run_dir, net))
        validation.finish()
    finally:
        validation.close()


def _resumed(settings: Settings, net) -> Snapshot | None:
    """The snapshot to continue from; None if there is none. Raises UserError if it belongs to another run.

    Also raises UserError for complete weights that cannot be continued from, as they are somebody's work. A first snapshot that a
    kill cut short is worth nothing: the run begins again.
    """
    run_dir = settings.run_dir
    there, found = run_dir / run_folder.TRAIN_PROTOTXT, snapshots(run_dir)
    if found and not there.exists():
        raise UserError(f'{run_dir} has snapshots but no {run_folder.TRAIN_PROTOTXT}; give another --run-dir')
    if settings.options.restart or not found:
        return None
    begun = read_net(there)
    snapshot = newest_whole(run_dir, begun)
    if snapshot is None and not any(whole_caffemodel(one.caffemodel, begun) for one in found):
        return None
    if snapshot is None:
        raise UserError(f'{run_dir} has no snapshot to go on from: {fault(found[-1], begun)}; {record.WAY_OUT}')
    record.refuse_other(run_dir, record.settings_record(settings, net))
    _refuse_other_data(settings)
    return snapshot


def _refuse_other_data(settings: Settings) -> None:
    """Raise UserError if the LMDB exists and is not the one that the run began with, or was made by other weights."""
    if (settings.lmdb / 'data.mdb').is_file():
        manifest = read_manifest(settings.lmdb)
        record.refuse_other_data(settings.run_dir, settings.lmdb, manifest)
        preflight.check_features_source(settings, manifest)


def _checked(settings: Settings, net, resumed: Snapshot | None, folder: Path) -> tuple[dict, list[Path]]:
    """Check everything; returns the manifest of the LMDB and the files to start from. Writes only to `folder`.

    A `resumed` run starts from no file.
    """
    weights: list[Path] = []
    manifest = preflight.check_lmdb(settings)
    check_validation(settings)
    if settings.options.tensorboard:
        check_tensorboard()
    preflight.check_restart(settings)
    preflight.check_disk(settings, net)
    warn_of_memory(settings.stage_name, net, settings.batch_per_pass, settings.gpus)
    if not resumed:
        _say_unfinished(settings)
        preflight.check_features_source(settings, manifest)
        weights = weight_files(settings, folder)
        preflight.check_weights(settings, net, weights)
    return manifest, weights


def _kept(weights: list[Path], made: Path, run_dir: Path) -> list[Path]:
    """The files to start from, after those in the folder `made` have been moved to the run folder."""
    return [Path(shutil.move(path, run_dir / path.name)) if path.parent == made else path for path in weights]


def _class_weights(settings: Settings, resumed: Snapshot | None) -> ClassWeights | None:
    """The class weights of the loss, if asked for; a run that continues keeps its own."""
    if resumed:
        return record.class_weights_of(record.read_record(settings.run_dir))
    if settings.class_weights is None:
        return None
    labels = preflight.check_images_beside(settings) if settings.stage.beside_images else settings.lmdb
    found = count_weights(settings.class_weights, labels, settings.dataset)
    say(f'class weights: {as_text(found, settings.dataset)}; mean weight of a pixel {found.mean:.4g}')
    return found


def _say_unfinished(settings: Settings) -> None:
    """Warn of each stage before this one that is not finished: the result is then not the paper's."""
    init = () if settings.weights else settings.stage.init
    for name in (*init, settings.stage.features_from):
        if name and name in STAGES:
            run_dir = settings.run_of(name)
            with suppress(UserError, LookupError):  # no run, or no run.json; weight_files() checks the weights
                reached = run_folder.newest_weights(run_dir).iteration
                end = record.read_record(run_dir)['sessions'][-1]['max_iter']
                if reached < end:
                    say(f'{settings.stage_name} starts from {run_dir}, which is at iteration {reached} of {end}')
