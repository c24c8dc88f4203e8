"""The patch onednn: CAFFE_ENGINE=onednn and onednn-bf16 convolve with oneDNN, beside Caffe's own convolutions."""

import os
import re
import signal
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

from tests.toy_nets import random_image, random_weights
from tools.caffe_build import onednn
from tools.support import cpu_engine
from tools.support.blas_in_use import caffe_library
from tools.support.caffe_import import import_caffe, net_of
from tools.support.caffe_in_use import manifest_in_use
from tools.support.cpu_engine import ONEDNN, ONEDNN_BF16, OWN, fault_of
from tools.support.errors import UserError
from tools.support.paths import ROOT

caffe = import_caffe()
L = caffe.layers

pytestmark = pytest.mark.skipif(
    not (onednn.wheel_sha256() and manifest_in_use()), reason='this toolkit builds oneDNN in, for x86-64 processors'
)

# name -> input (C, H, W), convolution_param; `ct` are the context module's
LAYERS = {
    'first': ((3, 40, 37), dict(num_output=64, kernel_size=3)),
    'same_size': ((64, 20, 23), dict(num_output=32, kernel_size=3, pad=1)),
    'fc6': ((32, 31, 33), dict(num_output=64, kernel_size=7, dilation=4)),
    'fc7': ((64, 9, 8), dict(num_output=48, kernel_size=1)),
    'ct_dilated': ((21, 40, 40), dict(num_output=42, kernel_size=3, dilation=8, pad=8)),
    'final': ((64, 9, 8), dict(num_output=11, kernel_size=1)),
    'no_bias': ((16, 12, 9), dict(num_output=16, kernel_size=3, bias_term=False)),
    'strided': ((16, 21, 20), dict(num_output=32, kernel_h=3, kernel_w=5, stride_h=2, stride_w=1, pad_h=1, pad_w=2)),
    'groups': ((32, 12, 11), dict(num_output=64, kernel_size=3, group=2, pad=1)),
    'volume': ((8, 6, 7, 5), dict(num_output=8, kernel_size=3)),  # three dimensions: Caffe's own
}
NOISE = {ONEDNN: 1e-5, ONEDNN_BF16: 1e-2}  # of the largest value: rounding of float32, and of factors to 8 bits


@pytest.fixture(params=[ONEDNN, ONEDNN_BF16])
def engine(request, monkeypatch):
    """Each engine in turn, chosen for the nets that the test makes."""
    if request.param == ONEDNN_BF16 and not fault_of(ONEDNN) and fault_of(ONEDNN_BF16):
        pytest.skip(fault_of(ONEDNN_BF16))  # the processor's fault; a build without oneDNN fails
    monkeypatch.setenv('CAFFE_ENGINE', request.param)
    return request.param


def layers_net():
    """All LAYERS in one net, each on an input of its own: a batch of two images."""
    spec = caffe.NetSpec()
    for name, (shape, parameters) in LAYERS.items():
        spec[f'{name}_in'] = L.Input(shape=dict(dim=[2, *shape]))
        filler = dict(type='gaussian', std=0.1)
        with_bias = {} if parameters.get('bias_term') is False else dict(bias_filler=filler)
        spec[name] = L.Convolution(spec[f'{name}_in'], weight_filler=filler, **with_bias, **parameters)
    message = spec.to_proto()
    message.force_backward = True
    return net_of(message)


def computed(net):
    """Outputs and gradients of a net of LAYERS from the same random numbers, by name. Gradients of weights add to ones."""
    random = np.random.default_rng(1)
    for name in LAYERS:
        for array in (net.blobs[f'{name}_in'].data, *(blob.data for blob in net.params[name])):
            array[...] = random.standard_normal(array.shape)
        for blob in net.params[name]:
            blob.diff[...] = 1
    found = {name: blob.copy() for name, blob in net.forward().items()}
    for name in LAYERS:
        net.blobs[name].diff[...] = random.standard_normal(net.blobs[name].data.shape)
    net.backward()
    for name in LAYERS:
        found[f'{name}, by input'] = net.blobs[f'{name}_in'].diff.copy()
        found |= {f'{name}, by parameter {i}': blob.diff.copy() for i, blob in enumerate(net.params[name])}
    return found


@pytest.fixture(scope='module')
def own():
    """What Caffe's own convolutions compute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv('CAFFE_ENGINE', raising=False)
        return computed(layers_net())


def close(found, expected, engine):
    """Whether two arrays differ by rounding only."""
    return np.abs(found - expected).max() <= NOISE[engine] * np.abs(expected).max()


def test_outputs_and_gradients_are_those_of_caffe(engine, own):
    """Dilation, groups, strides, padding, 1x1, with and without bias; gradients are added to those that are there."""
    found = computed(layers_net())
    assert found.keys() == own.keys()
    assert [name for name in own if not close(found[name], own[name], engine)] == []


def test_onednn_runs_all_passes_in_two_dimensions(engine, capfd):
    """oneDNN reports forward passes and both gradients of each layer, none by its slow reference."""
    caffe_library().dnnl_set_verbose(1)
    try:
        computed(layers_net())
    finally:
        caffe_library().dnnl_set_verbose(0)
    ran = re.findall(r'exec,cpu,convolution,(\S+?),(forward_training|backward_data|backward_weights),', capfd.readouterr().out)
    images = 2 * (len(LAYERS) - 1)
    assert {kind: [ran_kind for _, ran_kind in ran].count(kind) for _, kind in ran} == {
        'forward_training': images, 'backward_data': images, 'backward_weights': images,
    }  # fmt: skip
    assert not [name for name, _ in ran if name.startswith('ref')]


def one_layer(more=()):
    """A net of one dilated convolution, 16 channels to 32, with random weights and input."""
    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[1, 16, 24, 24]))
    spec.conv = L.Convolution(
        spec.data, num_output=32, kernel_size=3, dilation=2, weight_filler=dict(type='gaussian', std=0.1), **dict(more)
    )
    net = net_of(spec.to_proto())
    random = np.random.default_rng(2)
    for blob in (net.blobs['data'], *net.params['conv']):
        blob.data[...] = random.standard_normal(blob.data.shape)
    return net


def output(net):
    """The output of one_layer()."""
    return net.forward()['conv'].copy()


def test_changed_weights_count_from_the_next_pass_on(engine):
    """No copy of weights is kept: twice the weights and bias give twice the output."""
    net = one_layer()
    before = output(net)
    for blob in net.params['conv']:
        blob.data[...] *= 2
    np.testing.assert_array_equal(output(net), 2 * before)


def test_input_size_may_change(engine):
    """A pass after other sizes has the bits of the first pass; a smaller image is a part of a larger one."""
    net = one_layer()
    image = net.blobs['data'].data.copy()
    first = output(net)
    for side in (9, 40, 24):
        net.blobs['data'].reshape(1, 16, side, side)
        net.blobs['data'].data[...] = np.resize(image, (1, 16, side, side)) if side > 24 else image[:, :, :side, :side]
        made = output(net)
        assert made.shape[2:] == (side - 4, side - 4)
        if side < 24:
            assert close(made, first[:, :, : side - 4, : side - 4], engine)
    np.testing.assert_array_equal(made, first)


def test_threads_do_not_share(engine):
    """Two threads that convolve at once give what each gives alone."""
    nets = [one_layer(), one_layer()]
    nets[1].blobs['data'].data[...] += 1
    alone = [output(net) for net in nets]
    wrong = []

    def repeat(net, expected):
        wrong.extend(True for _ in range(30) if not np.array_equal(output(net), expected))

    threads = [threading.Thread(target=repeat, args=pair) for pair in zip(nets, alone, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_process_may_fork_after_a_pass(engine):
    """OpenMP's threads do not exist in the child; it computes all the same, with the bits of its parent."""
    code = """if True:
        import os, signal
        import numpy as np
        from tests.test_caffe_build_onednn import one_layer, output
        net = one_layer()
        first = output(net)
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if np.array_equal(output(net), first) and np.array_equal(output(one_layer()), first) else 1)
        print(os.waitpid(child, 0)[1], np.array_equal(output(net), first))
    """
    variables = os.environ | {'OPENBLAS_NUM_THREADS': '2', 'OMP_NUM_THREADS': '2'}
    finished = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
    assert finished.stdout.split() == ['0', 'True'], signal.strsignal(int(finished.stdout.split()[0]) & 127)


def test_a_layer_may_ask_for_caffe(engine, monkeypatch):
    """`engine: CAFFE` in a prototxt stays Caffe's own convolution, to the bit; so does CAFFE_ENGINE=caffe."""
    asked, by_default = output(one_layer({'engine': 1})), output(one_layer())
    monkeypatch.setenv('CAFFE_ENGINE', OWN)
    np.testing.assert_array_equal(asked, output(one_layer()))
    assert not np.array_equal(asked, by_default)


def test_engines_that_cannot_be_had(monkeypatch):
    """A build without oneDNN, and a processor without bfloat16, are named; Caffe's own engine needs neither."""
    monkeypatch.setattr(cpu_engine, 'caffe_library', lambda: None)
    assert fault_of(ONEDNN) == fault_of(ONEDNN_BF16) == 'this Caffe was built without oneDNN'
    assert fault_of(OWN) == ''


def test_an_unknown_engine_is_refused(monkeypatch):
    """The message names the variable and what to write."""
    monkeypatch.setenv('CAFFE_ENGINE', 'mkl')
    with pytest.raises(UserError, match='CAFFE_ENGINE=mkl: write caffe, onednn or onednn-bf16'):
        import_caffe()


def test_a_command_says_once_that_its_processor_lacks_bfloat16(tmp_path):
    """tools/predict.py warns on stderr and labels with Caffe's own convolutions."""
    weights = random_weights('front_toy', tmp_path / 'front.caffemodel')
    cv2.imwrite(str(tmp_path / 'a.png'), random_image(21, 34))
    command = [sys.executable, 'tools/predict.py', '--net', 'front_toy', '--weights', str(weights), str(tmp_path / 'a.png')]
    variables = os.environ | {'CAFFE_ENGINE': ONEDNN_BF16, 'ONEDNN_MAX_CPU_ISA': 'AVX2'}
    finished = [
        subprocess.run([*command, '--out', str(tmp_path / name)], cwd=ROOT, env=environment, capture_output=True, text=True)
        for name, environment in (('own', os.environ), ('asked', variables))
    ]
    assert [done.returncode for done in finished] == [0, 0]
    assert (tmp_path / 'own' / 'a.png').read_bytes() == (tmp_path / 'asked' / 'a.png').read_bytes()
    warning = (
        "warning: CAFFE_ENGINE=onednn-bf16: this processor does not multiply bfloat16 numbers; Caffe's own convolutions are used"
    )
    assert [done.stderr.count(warning) for done in finished] == [0, 1]
    assert 'net.cpp' not in finished[1].stderr  # Caffe's log stays quiet
