"""run.json: the settings of a run and its sessions. Checks whether a command asks for the same run."""

import datetime
import hashlib
import json
import sys
from dataclasses import MISSING, asdict, fields
from pathlib import Path

from prototxt.experiments import STAGES, Stage
from tools.support.atomic import to_disk, whole_file
from tools.support.blas_in_use import blas_in_use
from tools.support.caffe_in_use import in_use, manifest_in_use
from tools.support.cpu_engine import engine_in_use
from tools.support.errors import UserError
from tools.support.hashing import file_sum
from tools.support.paths import CAFFE
from tools.support.version import git_commit, uncommitted
from tools.training.class_weights import ClassWeights
from tools.training.initial import asked_weights, fresh_layers
from tools.training.options import REPLACED, flag_and_variable
from tools.training.settings import Settings

RECORD = 'run.json'
FINISHED, STOPPED, FAILED = 'finished', 'stopped', 'failed'  # how a session ends; a killed session has no entry
WAY_OUT = 'give another --run-dir, or --restart to move the folder aside and begin anew'
_OPTIONS = {  # setting that must not change -> the options that set it
    **{field: (option,) for field, option in REPLACED.items()},
    'iter_size': ('batch_per_pass',), 'class_weights': ('class_weights',), 'init': ('weights',), 'fresh': ('fresh', 'random_fc'),
}  # fmt: skip
# settings_record() records init and fresh in another form; the hash of the layers covers frozen.
_MAY_CHANGE = ('max_iter', 'snapshot', 'source', 'assumed', 'init', 'fresh', 'frozen')


def settings_record(settings: Settings, net) -> dict:
    """The settings that may not change within a run, as JSON values. `net` is the training NetParameter."""
    row = {name: value for name, value in asdict(settings.stage).items() if name not in _MAY_CHANGE}
    start = {'init': asked_weights(settings), 'fresh': fresh_layers(settings), 'class_weights': settings.class_weights}
    return _as_json({'stage': settings.stage_name, **row, **start, 'layers_sha256': _layers_sha256(net)})


def begin(settings: Settings, net, weights: list[Path], manifest: dict, class_weights: ClassWeights | None) -> dict:
    """The record of a new run that starts from the files `weights`."""
    row, own = _as_json(asdict(settings.stage)), _as_json(asdict(STAGES[settings.stage_name]))
    return {
        'settings': settings_record(settings, net) | {'lmdb_sha256': manifest_sha256(manifest)},
        'overrides': {name: value for name, value in row.items() if value != own[name]},
        'weights': [{'file': str(path), 'sha256': file_sum(path)} for path in weights],
        'lmdb': {'folder': str(settings.lmdb), 'manifest': manifest},
        'pixels_summed': settings.pixels_summed,
        'class_weights': class_weights and _named(class_weights, settings),
        'sessions': [],
    }


def _named(class_weights: ClassWeights, settings: Settings) -> dict:
    """Class weights by class name, and their mean over the pixels."""
    by_name = dict(zip(settings.dataset.classes, class_weights.weights, strict=True))
    return {'weights': by_name, 'mean': class_weights.mean}


def class_weights_of(record: dict) -> ClassWeights | None:
    """The class weights in a run.json; None if all classes count alike."""
    found = record.get('class_weights')
    return found and ClassWeights(tuple(found['weights'].values()), found['mean'])


def loss_scale(record: dict) -> float:
    """The reported loss of a uniform guess divided by ln C: the number of summed pixels times their mean class weight."""
    found = class_weights_of(record)
    return record.get('pixels_summed', 1) * (found.mean if found else 1)


def session(command: list[str], start: int, first_record: int, settings: Settings) -> dict:
    """One start of Caffe: time, iterations, first record, version of the code and of Caffe."""
    return {
        'begun': _now(),
        'from_iteration': start,
        'max_iter': settings.stage.max_iter,
        'first_record': first_record,
        'typed': [Path(sys.argv[0]).name, *sys.argv[1:]],
        'command': command,
        'git_commit': git_commit(),
        'uncommitted': uncommitted(),
        'caffe': _caffe_build(),
    }


def amend_session(run_dir: Path, **said: object) -> None:
    """Update fields of the last session in run.json."""
    record = read_record(run_dir)
    *before, last = record['sessions']
    write_record(run_dir, record | {'sessions': [*before, last | said]})


def end_session(run_dir: Path, how: str) -> None:
    """Write to run.json how the last session ended, in words. After a kill nothing is written."""
    amend_session(run_dir, ended=_now(), how=how)


def note_finished(run_dir: Path, reached: int) -> bool:
    """Mark the last session as finished, if a kill prevented that; returns whether it did."""
    last = read_record(run_dir)['sessions'][-1]
    missing = reached >= last['max_iter'] and last.get('how') != FINISHED
    if missing:
        amend_session(run_dir, how=FINISHED)
    return missing


def write_record(run_dir: Path, record: dict) -> None:
    """Write run.json, whole."""
    with whole_file(run_dir / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + '\n')
        to_disk(temporary)
    to_disk(run_dir / RECORD)


def read_record(run_dir: Path) -> dict:
    """The content of run.json. Raises UserError if it is missing or damaged."""
    path = run_dir / RECORD
    try:
        record = json.loads(path.read_text())
        if not {'settings', 'sessions'} <= record.keys():
            raise ValueError('not the record of a run')
        return record
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f'{path}: {error}; {WAY_OUT}') from error


def refuse_other(run_dir: Path, asked: dict) -> None:
    """Raise UserError with both values if the run in `run_dir` was begun with another setting than in `asked`.

    A field that the rows did not have yet when the run was begun counts as its default.
    """
    began = _as_json({row.name: row.default for row in fields(Stage) if row.default is not MISSING})
    began |= read_record(run_dir)['settings']
    for name, value in asked.items():
        if began.get(name) != value:
            options = ' and '.join(map(flag_and_variable, _OPTIONS.get(name, ())))
            again = f'give {options} as before, or ' if options else ''
            began_with = f'{run_dir} was begun with {name} {began.get(name)}'
            raise UserError(f'{began_with}, but this command asks for {value}; {again}{WAY_OUT}')


def refuse_other_data(run_dir: Path, lmdb: Path, manifest: dict) -> None:
    """Raise UserError unless the run in `run_dir` was begun on the records of `lmdb`, whose manifest is `manifest`."""
    record = read_record(run_dir)
    if record['settings'].get('lmdb_sha256') != manifest_sha256(manifest):
        begun_on = record.get('lmdb', {}).get('folder', 'another LMDB')
        raise UserError(f'{lmdb} does not hold the records that {run_dir} was begun on (then at {begun_on}); {WAY_OUT}')


def manifest_sha256(manifest: dict) -> str:
    """SHA-256 of an LMDB's manifest, which contains the hashes of its list and its source files.

    It is the same if another version of the toolkit wrote the LMDB from the same files.
    """
    content = {name: value for name, value in manifest.items() if name != 'tool_version'}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _as_json(values: dict) -> dict:
    """The values as JSON gives them back: lists for tuples."""
    return json.loads(json.dumps(values))


def _layers_sha256(net) -> str:
    """SHA-256 of the layers of a NetParameter, without the path of the LMDB."""
    plain = type(net)()
    plain.CopyFrom(net)
    for layer in plain.layer:
        layer.data_param.ClearField('source')
    return hashlib.sha256(plain.SerializeToString(deterministic=True)).hexdigest()


def _now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')


def _caffe_build() -> dict:
    """The Caffe in use: its folder, the SHA-256 of its program, what it was built from, its BLAS, and its engine on a CPU."""
    folder = in_use()
    built = {name: value for name, value in manifest_in_use().items() if name != 'files'}
    blas = blas_in_use()
    loaded = {'blas_in_use': asdict(blas) if blas else None, 'engine': engine_in_use()}
    return {'folder': str(folder), 'sha256': file_sum(CAFFE), **built, **loaded}
