"""--gpu: how a user writes it, what the message is when Caffe cannot use a GPU, and how GPUs share a batch."""

import argparse
import subprocess
import sys

import pytest
from train_data import apart, asked, kill_all, maps_lmdb, wait_for

from pretrained.caffemodel import read_net
from prototxt.experiments import NETS, STAGES
from prototxt.networks import training
from tools.support import gpus
from tools.support.errors import UserError
from tools.support.gpus import check_gpu, check_gpus, count_gpus, gpu_list, gpu_number
from tools.training import settings, start
from tools.training.snapshots import newest_whole, snapshots

NO_DRIVER = 'Check failed: error == cudaSuccess (35 vs. 0)  CUDA driver version is insufficient for CUDA runtime version'
TWO_GPUS = 'I1 caffe.cpp:1] Querying GPUs all\nI1 common.cpp:1] Device id: 0\nI1 common.cpp:1] Device id: 1\n'
AS_WITH_SEVERAL = """
from tools import train
from tools.support.errors import run_command
from tools.training.settings import Settings
Settings.several_gpus = True
run_command(train.main)
"""


@pytest.fixture
def caffe_says(monkeypatch):
    """Returns a function that sets Caffe's answers: `probe` is the error of a test of one GPU, `query` the list of all."""

    def answer(probe: str | None, query: str = '') -> None:
        def run(command):
            query_asked = 'device_query' in command
            said = query if query_asked else probe
            failed = 'Check failed' in query if query_asked else probe is not None
            return subprocess.CompletedProcess(command, int(failed), '', said or '')

        monkeypatch.setattr(gpus, '_run', run)

    return answer


@pytest.fixture
def with_gpus(monkeypatch):
    """Settings as on a machine whose Caffe can use every GPU."""
    monkeypatch.setattr(settings, 'check_gpus', lambda numbers: (0, 1, 2, 3) if numbers == 'all' else numbers)


@pytest.mark.parametrize(('text', 'numbers'), [('0', (0,)), ('3,1', (3, 1)), ('all', 'all')])
def test_gpus_are_written_as_for_caffe(text, numbers):
    """`caffe train -gpu` takes the same forms."""
    assert gpu_list(text) == numbers


@pytest.mark.parametrize(('kind', 'text'), [(gpu_list, '0,,1'), (gpu_list, '1,1'), (gpu_list, '-1'), (gpu_number, 'all')])
def test_other_words_are_wrong_usage(kind, text):
    with pytest.raises(argparse.ArgumentTypeError, match='twice|not the number'):
        kind(text)


@pytest.mark.parametrize(('has_driver', 'said', 'reason'), [
    (False, NO_DRIVER, 'this machine has no NVIDIA driver'),
    (True, NO_DRIVER, 'older than the CUDA that Caffe was built with'),
    (True, 'Check failed: error == cudaSuccess (100 vs. 0)  no CUDA-capable device is detected', 'shows no GPU'),
    (True, 'Check failed: error == cudaSuccess (101 vs. 0)  invalid device ordinal', 'it sees 2, counted from 0'),
    (True, 'Check failed: error == cudaSuccess (209 vs. 0)  no kernel image is available for execution on the device',
     'built for other GPUs.*make caffe CUDA=1'),
    (True, 'Check failed: error == cudaSuccess (2 vs. 0)  out of memory', 'its memory is full'),
    (True, 'F1 x.cpp:1] something new\n*** Check failure stack trace: ***\n    @ 0x1', r'\(F1 x.cpp:1\] something new\)'),
])  # fmt: skip
def test_the_reason_is_named(caffe_says, monkeypatch, tmp_path, has_driver, said, reason):
    """Each error of CUDA in Caffe's log becomes a reason and a next step."""
    (tmp_path / 'version').touch()
    monkeypatch.setattr(gpus, 'DRIVER', tmp_path / ('version' if has_driver else 'nothing'))
    caffe_says(said, TWO_GPUS)
    with pytest.raises(UserError, match=f'cannot use GPU 5 .*{reason}'):
        check_gpu(5)


def test_all_means_every_gpu_that_caffe_lists(caffe_says):
    caffe_says(None, TWO_GPUS)
    assert check_gpus('all') == (0, 1)


def test_all_of_no_gpus_is_refused(caffe_says):
    caffe_says(None, 'E1 x.cpp:1] ' + NO_DRIVER)
    with pytest.raises(UserError, match=r'sees no GPU \(this machine has no NVIDIA driver\)|older than'):
        count_gpus()


def test_a_gpu_that_is_not_there_is_refused():
    """By the Caffe in use: no machine has 4096 GPUs."""
    with pytest.raises(UserError, match=r'cannot use GPU 4096 \(.+\); leave out --gpu'):
        check_gpu(4096)


@pytest.mark.parametrize(('words', 'per_pass', 'iter_size'), [
    ('--gpu 0', 8, 1), ('--gpu 0,1', 4, 1), ('--gpu all', 2, 1), ('--gpu 0,1 --batch-per-pass 2', 2, 2),
    ('--gpu 1,3 --batch 32', 8, 2),
])  # fmt: skip
def test_gpus_share_the_batch(with_gpus, words, per_pass, iter_size):
    """The batch, 8 in camvid-front, is images in a pass on each GPU, times passes, times GPUs."""
    made = asked('camvid-front', *words.split())
    assert (made.batch_per_pass, made.stage.iter_size) == (per_pass, iter_size)
    assert made.batch_per_pass * made.stage.iter_size * len(made.gpus) == made.stage.batch_size


def test_a_batch_of_one_is_for_one_gpu(with_gpus):
    """Joint training has one."""
    with pytest.raises(UserError, match='batch of 1 does not split over 2 GPUs'):
        asked('camvid-joint', '--gpu', '0,1')


def test_layers_in_python_are_for_one_gpu(with_gpus):
    """Caffe would abort: "PythonLayer does not support CLI Multi-GPU"."""
    with pytest.raises(UserError, match='voc-context-basic-reflect has layers in Python.*GPU=1'):
        asked('voc-context-basic-reflect', '--gpu', '1,2')
    assert asked('voc-context-basic-reflect', '--gpu', '1').gpus == (1,)


@pytest.mark.parametrize('name', [name for name, stage in STAGES.items() if stage.start != 'data' or not NETS[stage.net].whole])
def test_rows_know_which_nets_have_layers_in_python(name):
    """They are compared with the layers of the training net."""
    stage = STAGES[name]
    net = training(name, 'lmdb', stage.crop_size, stage.batch_per_pass)
    assert NETS[stage.net].python_layers == any(layer.type == 'Python' for layer in net.layer)


@pytest.mark.parametrize(('words', 'flags', 'layer_wise'), [
    ('--gpu 2', '--gpu 2', True), ('--gpu 0,1', '--gpu 0,1 --sigint_effect snapshot', True),
    ('--gpu 0,1 --batch-per-pass 1', '--gpu 0,1 --sigint_effect snapshot', False),
])  # fmt: skip
def test_what_caffe_is_told(with_gpus, words, flags, layer_wise):
    """With several GPUs, a stop takes a snapshot; gradients are added once per update if an update takes several passes."""
    made = asked('camvid-front', *words.split())
    assert start._command(made, [], None)[-len(flags.split()) :] == flags.split()
    solver = start._solver(made, 0)
    assert solver.solver_mode == solver.GPU
    assert solver.layer_wise_reduce is layer_wise


def test_stop_by_snapshot(tmp_path):
    """The way to stop several GPUs, tried on the CPU: Caffe writes a snapshot and is ended; the run can go on from it."""
    run = tmp_path / 'run'
    words = 'toy-basic', '--lmdb', maps_lmdb(tmp_path), '--run-dir', run, '--batch', 6, '--iters', 100_000, '--snapshot', 90_000
    argv = [sys.executable, '-c', AS_WITH_SEVERAL, *apart(words)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for(lambda: (run / 'metrics.csv').exists() and (run / 'metrics.csv').read_text().count('\n') > 3)
        assert not snapshots(run)
        process.terminate()
        out, err = process.communicate(timeout=60)
    finally:
        kill_all(process)
    assert process.returncode == 130, err
    assert 'the same command goes on from there' in out
    assert newest_whole(run, read_net(run / 'train.prototxt'))
    assert '--sigint_effect snapshot' in (run / 'caffe.log').read_text()
