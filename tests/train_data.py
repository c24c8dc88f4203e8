"""Small LMDBs to train on, and helpers that run tools/train.py as a process."""

import csv
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dataset_prep.datasets import dataset
from dataset_prep.lmdb_writer import write_lmdb
from dataset_prep.records import save_split
from prototxt.experiments import STAGES
from tests.stored_maps import write_features, write_pairs
from tools import train as command
from tools.support.paths import ROOT
from tools.training.record import read_record
from tools.training.session import train
from tools.training.settings import Settings, settings

CLASSES = 7  # of the data set 'toy'
RECORDS = 6
MANIFEST = {'dataset': 'toy', 'classes': CLASSES, 'blob': 'final', 'weights': 'of no file'}


def images_lmdb(
    folder: Path, crop_size: int = 380, name: str = 'toy', split: str = 'train', count: int = RECORDS, **changes: str
) -> Path:
    """An LMDB of noise of 40x56 pixels for data set `name`, padded by reflection to 412x428 pixels.

    The blue channel gives the label: one of seven classes, or fewer if the data set has fewer. `changes` go to write_lmdb().
    """
    random, pairs = np.random.default_rng(0), []
    for index in range(count):
        image = random.integers(0, 256, (40, 56, 3), np.uint8)
        pairs.append((f'r{index}', image, image[..., 0] // 37 % dataset(name).num_classes))
    records = write_pairs(folder, pairs, name)
    save_split(folder, split, records)
    write_lmdb(folder / 'images', records, dataset=name, split=split, crop_size=crop_size, **changes)
    return folder / 'images'


def maps_lmdb(folder: Path, *, top_label: int = CLASSES - 1, size_hw: tuple[int, int] = (24, 30), **changes: object) -> Path:
    """An LMDB of made-up scores of a front end. `top_label` replaces the last class; `changes` go into the manifest."""
    random, rows = np.random.default_rng(0), []
    for index in range(RECORDS):
        label = random.integers(0, CLASSES, size_hw).astype(np.uint8)
        scores = scores_of(label, random)
        label[label == CLASSES - 1] = top_label
        rows.append((f'r{index}', scores, label))
    write_features(folder / 'maps', rows, MANIFEST | {'split': 'train'} | changes)
    return folder / 'maps'


def split_with_maps(root: Path, split: str) -> Path:
    """Write a split of images with labels and its stored scores to `root`/toy; returns that folder."""
    folder, random, pairs, rows = root / 'toy', np.random.default_rng(1), [], []
    for index in range(3):
        cells = random.integers(0, CLASSES, (6, 8)).astype(np.uint8)
        label = np.kron(cells, np.ones((8, 8), np.uint8))[:40, :56]
        pairs.append((f'{split}{index}', np.zeros((40, 56, 3), np.uint8), label))
        rows.append((f'{split}{index}', scores_of(cells, random), cells))
    save_split(folder, split, write_pairs(folder, pairs, 'toy'))
    write_features(folder / f'{split}_final_toy-front', rows, MANIFEST | {'split': split})
    return folder


def scores_of(label: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The one-hot label plus noise, float32 (CLASSES, h, w)."""
    one_hot = np.eye(CLASSES, dtype=np.float32)[label].transpose(2, 0, 1)
    return one_hot + random.normal(0, 1, one_hot.shape).astype(np.float32)


def asked(*words: object) -> Settings:
    """The settings of a command line."""
    args = command.parse_args(apart(words))
    return settings(args.stage, args.options)


def apart(words: Sequence[object]) -> list[str]:
    """The words as text. Makes sure that the stage does not look into runs/ of this checkout for the weights of its maps.

    An empty folder with the name of the stage that makes the maps, beside the run folder, takes precedence over runs/.
    """
    if '--run-dir' in words and (maker := STAGES[str(words[0])].features_from) in STAGES:
        beside = Path(str(words[words.index('--run-dir') + 1])).parent / str(maker)
        beside.mkdir(parents=True, exist_ok=True)
    return [str(word) for word in words]


def finish(*words: object) -> None:
    """Train to the end, in this process."""
    assert train(asked(*words)) == 0


def begin(*words: object, before: Callable[[], None] | None = None, **streams: int) -> subprocess.Popen:
    """tools/train.py in its own process group, as a shell starts it. The child calls `before` first."""
    argv = [sys.executable, str(ROOT / 'tools' / 'train.py'), *apart(words)]
    streams = streams or {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    return subprocess.Popen(argv, **streams, text=True, start_new_session=True, preexec_fn=before)


def begin_in_terminal(*words: object) -> tuple[subprocess.Popen, int]:
    """tools/train.py in its own terminal, and a descriptor: closing it closes the terminal."""
    ours, its = pty.openpty()

    def take_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)

    process = begin(*words, before=take_terminal, stdin=its, stdout=its, stderr=its)
    os.close(its)
    return process, ours


def caffe_of(process: subprocess.Popen) -> int:
    """Process id of the Caffe that `process` started."""
    return int(wait_for(lambda: Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split())[0])


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def kill_all(process: subprocess.Popen) -> None:
    """Kill the process group if a failed test left it running."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for(condition, seconds: float = 60):
    """The first true value of `condition()`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.02)
    return value


def rows(run_dir: Path) -> list[dict[str, str]]:
    """The rows of a run's metrics.csv."""
    with (run_dir / 'metrics.csv').open() as file:
        return list(csv.DictReader(file))


def iterations(run_dir: Path) -> list[int]:
    """The column `iteration` of metrics.csv."""
    return [int(row['iteration']) for row in rows(run_dir)]


def losses(run_dir: Path) -> list[float]:
    """The column `loss` of metrics.csv."""
    return [float(row['loss']) for row in rows(run_dir)]


def sessions(run_dir: Path, field: str) -> list:
    """A field of each session in run.json."""
    return [session[field] for session in read_record(run_dir)['sessions']]
