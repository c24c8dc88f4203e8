"""Labels images in several processes with joblib, on this machine or, through a Dask scheduler, on many.

Every machine must see the checkout, the data set, the weights and the results under the same paths.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from socket import gethostname

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from dataset_prep.records import Record
from tools.inference.labelling import Job, label_records
from tools.support.errors import Fault, UserError
from tools.support.hashing import file_sum
from tools.support.pipeline import begun

PORTIONS = 4  # portions for each process, so that all end at about the same time
CONNECT_S = 20
SAME_PATHS = 'every machine must have the same folders under the same paths'


def label_in_processes(
    job: Job, records: Sequence[Record], folder: Path, jobs: int, gpus: Sequence[int] = (), scheduler: str | None = None
) -> dict[str, Fault]:
    """label_records in `jobs` processes, one per GPU, or with `scheduler` on the workers of a Dask cluster.

    Raises UserError if the scheduler does not answer, a machine does not see the files, or a process was ended.
    """
    with _engine(scheduler, jobs) as workers, tqdm(total=len(records), unit='image', desc='labelling', disable=None) as bar:
        work = joblib.Parallel(n_jobs=workers, return_as='generator_unordered')
        tasks = [joblib.delayed(label_portion)(*task, folder) for task in _tasks(job, records, workers, gpus)]
        faults: dict[str, Fault] = {}
        try:
            for count, found in begun(work, tasks):
                faults |= found
                bar.update(count)
        except TerminatedWorkerError as error:  # Caffe ended the process, or the system did because memory ran out
            said = f'a process that labels images was ended; the label maps in {folder} stay, the same command goes on'
            raise UserError(said) from error
        return faults


def label_portion(job: Job, records: Sequence[Record], folder: Path) -> tuple[int, dict[str, Fault]]:
    """Label one portion; returns the number of records and their faults. Records that have a map by now are skipped."""
    if not (folder / 'settings.json').is_file():
        raise UserError(f'{gethostname()} does not see {folder}; {SAME_PATHS}')
    check_weights(job.weights, job.weights_sha256)
    missing = [record for record in records if not (folder / f'{record.id}.png').exists()]
    return len(records), label_records(job, missing, folder, quiet=True)


@lru_cache(maxsize=1)
def check_weights(weights: tuple[Path, ...], sums: tuple[str, ...]) -> None:
    """Raise UserError if a file is missing on this machine or has another SHA-256."""
    for path, expected in zip(weights, sums, strict=True):
        if not path.is_file():
            raise UserError(f'{gethostname()} does not see {path}; {SAME_PATHS}')
        if file_sum(path) != expected:
            raise UserError(f'{path} on {gethostname()} is another file than here; {SAME_PATHS}')


def _tasks(job: Job, records: Sequence[Record], workers: int, gpus: Sequence[int]) -> list[tuple[Job, list[Record]]]:
    """Pairs of a job and its records: one for each GPU, so that a process holds one network; without GPUs, portions."""
    if gpus:
        shares = [(job.on_gpu(gpu), list(records[i :: len(gpus)])) for i, gpu in enumerate(gpus)]
        return [share for share in shares if share[1]]
    size = -(-len(records) // (PORTIONS * workers))
    return [(job, list(records[i : i + size])) for i in range(0, len(records), size)]


@contextmanager
def _engine(scheduler: str | None, jobs: int):
    """Set joblib to local processes or a Dask cluster; yields the number of workers."""
    if scheduler is None:
        with joblib.parallel_config(backend='loky', n_jobs=jobs):
            yield jobs
        return
    with _client(scheduler) as client, joblib.parallel_config(backend='dask', wait_for_workers_timeout=CONNECT_S):
        yield _threads(client, scheduler)


def _client(scheduler: str):
    """A connection to a Dask scheduler."""
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError("--scheduler needs Dask; run: .venv/bin/pip install 'dask[distributed]>=2026.1.1'") from error
    try:
        return Client(scheduler, timeout=CONNECT_S, set_as_default=True)
    except (OSError, ValueError) as error:
        raise UserError(f'no Dask scheduler answers at {scheduler} ({error}); tools/README.md says how to start one') from error
    except TypeError as error:  # Dask raises this for a tls:// address without a certificate
        raise UserError(f'{scheduler}: Dask has no certificate for TLS; tools/README.md says where to write its name') from error


def _threads(client, scheduler: str) -> int:
    """Number of workers. Raises UserError if there are none, or if one has several threads: a caffe.Net serves one."""
    threads = client.nthreads()
    if not threads:
        raise UserError(
            f'no workers at {scheduler}; on each machine run, in the checkout: '
            f'.venv/bin/dask worker {scheduler} --nthreads 1 --interface NAME (tools/README.md)'
        )
    wrong = [name for name, count in threads.items() if count != 1]
    if wrong:
        raise UserError(f'worker {wrong[0]} has {threads[wrong[0]]} threads; start workers with --nthreads 1')
    return len(threads)
