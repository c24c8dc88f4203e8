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

import cv2
import numpy as np

from dataset_prep.lmdb_writer import write_lmdb
from dataset_prep.records import Record, save_split
from prototxt.experiments import STAGES
from tests.stored_maps import write_features
from tools import train as command
from tools.support.paths import ROOT
from tools.training.settings import Settings, settings

CLASSES = 7  # of the data set 'toy'
RECORDS = 6


def images_lmdb(folder: Path, crop_size: int = 380, dataset: str = 'toy', split: str = 'train', count: int = RECORDS) -> Path:
    """An LMDB of noise of 40x56 pixels, padded by reflection to 412x428. The blue channel gives the label, one of seven."""
    random, records = np.random.default_rng(0), []
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image = random.integers(0, 256, (40, 56, 3), np.uint8)
        paths = folder / f'{index}.png', folder / f'{index}_label.png'
        cv2.imwrite(str(paths[0]), image)
        cv2.imwrite(str(paths[1]), image[..., 0] // 37)
        records.append(Record(f'r{index}', *paths, dataset))
    save_split(folder, split, records)
    write_lmdb(folder / 'images', records, dataset=dataset, split=split, crop_size=crop_size)
    return folder / 'images'


def maps_lmdb(folder: Path, *, top_label: int = CLASSES - 1, size_hw: tuple[int, int] = (24, 30), **changes: object) -> Path:
    """An LMDB of made-up scores of a front end: the one-hot label plus noise. `changes` go into the manifest."""
    random, rows = np.random.default_rng(0), []
    for index in range(RECORDS):
        label = random.integers(0, CLASSES, size_hw).astype(np.uint8)
        shown = np.eye(CLASSES, dtype=np.float32)[label].transpose(2, 0, 1)
        label[label == CLASSES - 1] = top_label
        rows.append((f'r{index}', shown + random.normal(0, 1, shown.shape).astype(np.float32), label))
    said = {'dataset': 'toy', 'classes': CLASSES, 'blob': 'final', 'weights': 'of no file', 'split': 'train'}
    write_features(folder / 'maps', rows, said | changes)
    return folder / 'maps'


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


def begin(*words: object, before: Callable[[], None] | None = None) -> subprocess.Popen:
    """tools/train.py in its own process group, as a shell starts it. The child calls `before` first."""
    argv = [sys.executable, str(ROOT / 'tools' / 'train.py'), *apart(words)]
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    return subprocess.Popen(argv, **pipes, text=True, start_new_session=True, preexec_fn=before)


def begin_in_terminal(*words: object) -> tuple[subprocess.Popen, int]:
    """tools/train.py in its own terminal, and a descriptor: closing it closes the terminal."""
    ours, its = pty.openpty()

    def take_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)

    argv = [sys.executable, str(ROOT / 'tools' / 'train.py'), *apart(words)]
    process = subprocess.Popen(argv, stdin=its, stdout=its, stderr=its, start_new_session=True, preexec_fn=take_terminal)
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


def split_with_maps(root: Path, split: str) -> Path:
    """Write a split of images with labels and its stored scores to `root`/toy; returns that folder."""
    folder, random, records, rows = root / 'toy', np.random.default_rng(1), [], []
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(3):
        cells = random.integers(0, CLASSES, (6, 8)).astype(np.uint8)
        paths = folder / f'{split}{index}.png', folder / f'{split}{index}_label.png'
        cv2.imwrite(str(paths[0]), np.zeros((40, 56, 3), np.uint8))
        cv2.imwrite(str(paths[1]), np.kron(cells, np.ones((8, 8), np.uint8))[:40, :56])
        records.append(Record(f'{split}{index}', *paths, 'toy'))
        shown = np.eye(CLASSES, dtype=np.float32)[cells].transpose(2, 0, 1)
        rows.append((f'{split}{index}', shown + random.normal(0, 1, shown.shape).astype(np.float32), cells))
    save_split(folder, split, records)
    said = {'dataset': 'toy', 'classes': CLASSES, 'blob': 'final', 'weights': 'of no file', 'split': split}
    write_features(folder / f'{split}_final_toy-front', rows, said)
    return folder


def chain_data(root: Path) -> None:
    """Write to `root`/toy what dataset_prep writes for stage toy-front: a list, and an LMDB of noise of 40x56 pixels."""
    if not (root / 'toy' / 'train.json').exists():
        made = images_lmdb(root / 'toy', STAGES['toy-front'].crop_size or 0)
        made.rename(root / 'toy' / 'train_564')
