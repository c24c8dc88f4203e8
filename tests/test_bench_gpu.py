"""`make bench-gpu` as far as it goes on a CPU: the cases, the files, and the same network in Caffe and PyTorch."""

import json
from dataclasses import asdict
from importlib.util import find_spec
from itertools import chain

import numpy as np
import pytest

from prototxt.experiments import NETS, STAGES
from prototxt.networks import deploy
from prototxt.shapes import param_shapes
from tests.engines import run_onnx
from tools import bench_gpu
from tools.bench import gpu_run as run
from tools.bench.gpu_cases import Case, full_cases, splits
from tools.bench.gpu_files import torch_job, torch_layers
from tools.bench.gpu_run import Result, Setup, measure_case
from tools.inference.caffe_net import caffemodel, forward, load_net
from tools.inference.onnx_net import OnnxGraph
from tools.support.errors import UserError

ON_CPU = Setup(gpu=None, repeat=1, torch_python=None)
TOY_STEP = Case('toy-basic step', 'basic_toy', (9, 9), start='final', batch=4, stage='toy-basic')


NETWORKS = pytest.mark.parametrize(
    ('name', 'start', 'size_hw'),
    [('basic_toy', 'data', (404, 388)), ('large_toy', 'final', (40, 36)), ('dilation10_cityscapes', 'final', (11, 13))],
)


def in_caffe(net, folder):
    """Random weights by layer, a random input, and Caffe's probabilities of a deploy network."""
    random = np.random.default_rng(0)

    def values(shape):
        return random.normal(0, np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1, shape).astype(np.float32)

    weights = {layer: [values(shape) for shape in shapes] for layer, shapes in param_shapes(net).items()}
    caffemodel.write(folder / 'same.caffemodel', weights)
    data = random.standard_normal(tuple(net.layer[0].input_param.shape[0].dim), np.float32)
    prob = forward(load_net(net, [folder / 'same.caffemodel']), data[0])
    assert np.ptp(prob, axis=(1, 2)).max() > 1e-2
    return weights, data, prob


@NETWORKS
def test_the_rows_for_pytorch_are_the_same_network(name, start, size_hw, tmp_path):
    """onnxruntime computes Caffe's probabilities from the rows: pooling that rounds up, dilation, padding, upsampling."""
    net = deploy(name, start, size_hw)
    weights, data, prob = in_caffe(net, tmp_path)
    graph, top, blobs = OnnxGraph(), 'data', iter(weights.values())
    for row in torch_layers(net):
        window = {'kernel_shape': [row.kernel] * 2, 'strides': [row.stride] * 2, 'pads': [row.pad] * 4}
        if row.kind == 'Pooling':
            top = graph.add('MaxPool', top, ceil_mode=1, **window)
        elif row.kind == 'ReLU':
            top = graph.add('Relu', top)
        elif row.kind != 'Dropout':
            operation = {'Convolution': 'Conv', 'Deconvolution': 'ConvTranspose'}[row.kind]
            kernel, *bias = next(blobs)
            assert (row.channels_out, row.bias) == (kernel.shape[0], bool(bias))
            top = graph.add(operation, top, kernel, *bias, **window, dilations=[row.dilation] * 2, group=row.group)
    graph.add('Softmax', top, axis=1)
    np.testing.assert_allclose(run_onnx(graph.model(data.shape), data)[0], prob, atol=1e-4)


@NETWORKS
def test_pytorch_computes_what_the_rows_say(name, start, size_hw, tmp_path):
    """With the same weights it gives Caffe's probabilities. Runs only where `make bench` installed PyTorch."""
    torch = pytest.importorskip('torch')
    from tools.bench.gpu_torch import network

    net = deploy(name, start, size_hw)
    weights, data, prob = in_caffe(net, tmp_path)
    twin = network([asdict(row) for row in torch_layers(net)], data.shape[1]).eval()
    with torch.no_grad():
        for parameter, values in zip(twin.parameters(), chain.from_iterable(weights.values()), strict=True):
            parameter.copy_(torch.from_numpy(values))
        np.testing.assert_allclose(torch.softmax(twin(torch.from_numpy(data)), 1)[0].numpy(), prob, atol=1e-4)


def test_a_layer_that_is_not_translated():
    """Reflection is a Python layer; a network with it has no rows for PyTorch."""
    assert torch_job(Case('x', 'basic_pascal_voc_reflect', (66, 66), start='fc-final'), 1) is None


def test_every_stage_of_the_paper_has_its_step():
    """Each stage on images has a case with its crop and batch; equal steps are measured once."""
    steps = [case for case in full_cases() if case.stage]
    for stage in STAGES.values():
        if stage.start == 'data' and not stage.source.startswith('this toolkit') and not NETS[stage.net].whole:
            assert ((stage.crop_size, stage.crop_size), stage.batch_size) in {(case.size_hw, case.batch) for case in steps}
    assert len({(case.net, case.size_hw, case.batch) for case in steps}) == len(steps)
    assert any(case.name.startswith(bench_gpu.DILATION10_JOINT) for case in steps)


def test_a_batch_is_split_until_it_fits(monkeypatch):
    """14 images run as 14 in a pass, then 7, 2 and 1; the first that does not fail is the result."""
    assert splits(14) == [14, 7, 2, 1]
    tried = []

    def measure(case, setup, variant, folder, per_pass):
        tried.append(per_pass)
        fault = '' if per_pass < 7 else 'Check failed: error == cudaSuccess (2 vs. 0)  out of memory'
        return Result(case.name, 'Caffe', variant, per_pass, case.batch // per_pass, [1.0], fault=fault)

    monkeypatch.setattr(run, '_caffe', measure)
    found = measure_case(Case('x', 'front_toy', (380, 380), batch=14, stage='toy-front'), ON_CPU)[0]
    assert (found.per_pass, found.passes, tried[:3]) == (2, 7, [14, 7, 2])


def test_change_of_a_variant(tmp_path):
    """Two of four pixels change their label, and the largest change of a probability is 0.6."""
    before = np.array([[[0.9, 0.6, 0.4, 0.2]], [[0.1, 0.4, 0.6, 0.8]]])
    after = np.array([[[0.9, 0.4, 0.6, 0.8]], [[0.1, 0.6, 0.4, 0.2]]])
    after[:, 0, 3] = before[:, 0, 3]
    np.save(tmp_path / 'a.npy', before)
    np.save(tmp_path / 'b.npy', after)
    plain = Result('x', 'Caffe', '', 1, 1, [1.0], prob=tmp_path / 'a.npy')
    other = Result('x', 'Caffe', 'TF32', 1, 1, [1.0], prob=tmp_path / 'b.npy')
    assert run._compared(other, plain).changed == 'probabilities by at most 2.0e-01; 50.000% of the labels'


def test_twelve_gigabytes_are_checked_for_one_step():
    """Only Caffe's joint step of Dilation10 gets the note."""
    results = [
        Result('cityscapes-joint step', 'Caffe', '', 1, 1, [1.0], int(11.5e9)),
        Result('cityscapes-joint step', 'PyTorch', '', 1, 1, [1.0], int(9e9)),
        Result('camvid-joint step', 'Caffe', '', 1, 1, [1.0], int(5e9)),
    ]
    assert bench_gpu.notes(results) == ['cityscapes-joint step : 11.50 GB, within 12 GB']


def test_rehearsal(tmp_path, capsys):
    """The command runs on the CPU and writes a step of Caffe, and of PyTorch if it is installed, as a table and as JSON."""
    bench_gpu.main(['--rehearse', '--only', 'toy-basic', '--repeat', '1', '--out', str(tmp_path)])
    rows = json.loads((tmp_path / 'results.json').read_text())
    programs = {'Caffe', 'PyTorch'} if find_spec('torch') else {'Caffe'}
    assert {(row['program'], row['fault']) for row in rows} == {(program, '') for program in programs}
    assert all(len(row['seconds']) == 1 and row['peak_bytes'] > 1e7 for row in rows)
    assert '| toy-basic step | Caffe | TF32 | 4 x 1 |' in (tmp_path / 'results.md').read_text()
    assert 'these figures mean nothing' in capsys.readouterr().out


def test_a_fault_of_a_program_is_in_the_table(tmp_path):
    """A process that fails gets a row with its last message."""
    broken = Case('broken', 'basic_toy', (404, 404), start='final', batch=1, stage='toy-front')  # needs images
    result = measure_case(broken, ON_CPU)[0]
    assert 'Check failed' in result.fault and bench_gpu.row(result).endswith(f'{result.fault} |')


def test_gpu_and_case_that_are_not_there_are_refused(tmp_path):
    """Before anything runs."""
    with pytest.raises(UserError, match='cannot use GPU 999'):
        bench_gpu.main(['--gpu', '999', '--out', str(tmp_path)])
    with pytest.raises(UserError, match='--only nothing'):
        bench_gpu.main(['--only', 'nothing'])
