"""`make bench` compares like with like: the same labels, networks and scores on both sides."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from dataset_prep.datasets import dataset
from prototxt.networks import deploy, write
from tests.toy_nets import random_image, random_weights
from tools import scoring
from tools.bench import material
from tools.bench.__main__ import needs, parse_args
from tools.bench.engine_comparison import products_of
from tools.bench.products import product_of
from tools.bench.stopwatch import apart, run
from tools.inference import Predictor
from tools.netinfo.setup import layers_of
from tools.scoring.benchmarks import BENCHMARKS
from tools.scoring.folders import find_pairs, score_pairs
from tools.support.blas_in_use import blas_in_use
from tools.support.errors import UserError
from tools.support.paths import ROOT

TILE = (372 + 16, 372 + 24)
BENCH = ROOT / 'tools' / 'bench'


@pytest.fixture
def toy(tmp_path):
    """A deploy prototxt of basic_toy, and random weights."""
    write(deploy('basic_toy', size_hw=TILE), tmp_path / 'deploy.prototxt')
    return tmp_path / 'deploy.prototxt', random_weights('basic_toy', tmp_path / 'basic.caffemodel')


def test_the_authors_procedure_gives_our_labels(toy, tmp_path):
    """Every pixel of an image of several tiles has the same label."""
    prototxt, weights = toy
    image = random_image(35, 50)
    cv2.imwrite(str(tmp_path / 'image.png'), image)
    (tmp_path / 'out').mkdir()
    mean = map(str, dataset('toy').mean_bgr)
    command = [sys.executable, BENCH / 'authors.py', prototxt, weights, '8', *mean, tmp_path / 'out', tmp_path / 'image.png']
    subprocess.run(command, check=True, capture_output=True)
    theirs = cv2.imread(str(tmp_path / 'out' / 'image.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(theirs, Predictor('basic_toy', [weights], size_hw=TILE).label_map(image))


def test_the_evaluators_mean_is_ours(tmp_path):
    """cityscapesScripts gives the same mean IoU on the label maps that both are timed with."""
    predictions, truths = material.city_maps(tmp_path, 2)
    run([BENCH / 'evaluator.py', predictions, truths, tmp_path / 'mean.json'])
    benchmark = BENCHMARKS['cityscapes']
    matrix = sum(score_pairs(benchmark, find_pairs(benchmark, predictions, truths), 'ids'))[0]
    assert json.loads((tmp_path / 'mean.json').read_text()) == scoring.summary(benchmark.classes, matrix)['mean_iou']
    assert 0.1 < scoring.summary(benchmark.classes, matrix)['mean_iou'] < 1


@pytest.mark.parametrize(
    ('words', 'packages', 'as_released'),
    [
        (['zoom', 'stream', 'lmdb', 'memory'], [], False),
        (['scoring'], ['cityscapesscripts'], False),
        (['cold'], ['torch'], True),
        (['cold', '--no-torch', '--no-authors'], [], False),
        (['blas', '--no-torch'], ['mkl', 'onnxruntime'], False),
        (['im2col', '--no-authors'], [], True),
        ([], ['cityscapesscripts', 'mkl', 'onnxruntime', 'pydensecrf2', 'torch'], True),
    ],
)
def test_a_part_installs_only_what_it_compares_with(words, packages, as_released):
    """PyTorch's 5 GB and the Caffe as released are for the parts that time them."""
    assert needs(parse_args(words)) == (packages, as_released)


def test_a_command_that_fails_is_named():
    """The error has its status and its words."""
    with pytest.raises(UserError, match='status 3 from: .*sys.exit'):
        run(['-c', 'import sys; sys.exit(3)'])


def test_a_function_runs_in_a_process_with_its_own_variables():
    """Even PYTHONPATH, which commands do not take from a user's shell."""
    found, result = apart(os.getenv, 'PYTHONPATH', variables={'PYTHONPATH': '/nowhere'})
    assert result == '/nowhere' and found.cpu_seconds > 0
    assert apart(os.path.join, 'a', 'b')[1] == 'a/b'


def test_memory_of_all_processes_is_added():
    """Two processes that hold 150 MB each for 1.5 s have a peak of 300 MB and more."""
    child = 'import time; held = bytearray(150_000_000); time.sleep(1.5)'
    script = f'import subprocess, sys; subprocess.run([sys.executable, "-c", {child!r}])'
    both = f'import subprocess, sys; [p.wait() for p in [subprocess.Popen([sys.executable, "-c", {script!r}]) for _ in range(2)]]'
    result = run(['-c', both])
    assert 300_000_000 < result.peak_bytes < 400_000_000 and result.seconds > 1.5


@pytest.mark.parametrize('engine', ['caffe', 'onnxruntime'])
def test_an_engine_is_timed_pass_by_pass(engine, toy):
    """There are as many times as passes; of Caffe's layers the slowest is a convolution."""
    [line] = run([BENCH / 'forward_pass.py', engine, *toy, 2]).lines
    said = json.loads(line)
    assert len(said['seconds']) == 2 and min(said['seconds']) > 0
    if engine == 'caffe':
        assert max(said['layers'], key=lambda layer: layer[2])[1] == 'Convolution'
        assert sum(layer[2] for layer in said['layers']) <= min(said['seconds'])


def test_products_are_those_of_the_pass():
    """Two operations per multiply-add; conv1_2 in seven parts of at most 256 MiB of columns; fc7 has no columns, so one part."""
    layers = layers_of(deploy('dilation8_pascal_voc'), 'test')
    found = {product.layer: product for product in products_of(layers)}
    adds = sum(layer.costs.multiply_adds for layer in layers if layer.type == 'Convolution')
    assert sum(product.flop for product in found.values()) == pytest.approx(2 * adds)
    assert found['conv1_2'].shape == (64, 130 * 896, 64 * 9) and found['conv1_2'].times == pytest.approx(896 / 130)
    assert found['fc7'].shape == (4096, 66 * 66, 4096) and found['fc7'].times == 1


def test_caffes_library_multiplies():
    """The timed function multiplies with the library file that Caffe uses."""
    blas = blas_in_use()
    random = np.random.default_rng(0)
    a, b, c = random.random((3, 5), np.float32), random.random((5, 4), np.float32), np.full((3, 4), 7, np.float32)
    product_of(blas.file, blas.prefix)(a, b, c)
    np.testing.assert_allclose(c, a.astype(np.float64) @ b, rtol=1e-6)
