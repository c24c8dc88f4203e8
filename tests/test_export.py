"""tools/export.py: its ONNX files in onnxruntime and OpenCV compared with Caffe, the README's example, and what it refuses."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from dataset_prep.datasets import dataset
from prototxt.experiments import NETS
from tests.engines import run_onnx
from tests.toy_nets import random_image, random_weights
from tools import export, predict
from tools.inference import Predictor, onnx_check, onnx_export
from tools.inference.onnx_net import OnnxGraph, append_reflection
from tools.support.errors import UserError
from tools.support.hashing import file_sum
from tools.support.paths import ROOT

SIZE_HW = (21, 34)
# A network of each kind: the three ways in which contexts pad, upsampling in the network, networks that take whole images.
KINDS = (
    'dilation8_pascal_voc', 'dilation7_kitti', 'basic_pascal_voc_reflect', 'dilation10_cityscapes', 'fcn8s_pascal_voc',
    'fcn8s_pascal_voc_at_once',
    'deeplab_pascal_voc', 'deeplab_largefov_pascal_voc', 'deeplab_msc_pascal_voc', 'front_camvid_pooling_padding',
)  # fmt: skip


@pytest.fixture
def small_tiles(monkeypatch):
    """basic_toy with tiles that cover 16x24 pixels, so that SIZE_HW needs two by two."""
    monkeypatch.setitem(NETS, 'basic_toy', replace(NETS['basic_toy'], input_size_hw=(372 + 16, 372 + 24)))


def run(weights, out, *options, net='basic_toy'):
    """Exports a network to `out`; returns it."""
    export.main(['--net', net, '--weights', str(weights), '--out', str(out), *options])
    return out


def in_onnxruntime(path, image):
    """Probabilities (C, H, W) of an image from a file."""
    return run_onnx(onnx.load(path), image.transpose(2, 0, 1)[np.newaxis].astype(np.float32))[0]


def in_opencv(path, image):
    """The same from OpenCV's DNN module."""
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(cv2.dnn.blobFromImage(image))
    return net.forward()[0]


@pytest.mark.usefixtures('small_tiles')
@pytest.mark.parametrize('options', [[], ['--tiling', 'tight']])
def test_the_file_labels_as_the_predictor_does(options, basic_weights, tmp_path, capsys):
    """Four tiles with reflected borders have the Predictor's probabilities in both engines. The command prints the shapes."""
    out = run(basic_weights, tmp_path / 'm.onnx', '--size', '21x34', *options)
    image = random_image(*SIZE_HW)
    expected = Predictor('basic_toy', basic_weights, tiling=(options or ['reference'])[-1]).probabilities(image)
    assert len(np.unique(expected.argmax(axis=0))) > 1
    np.testing.assert_allclose(in_onnxruntime(out, image), expected, atol=1e-5)
    np.testing.assert_allclose(in_opencv(out, image), expected, atol=1e-5)
    said = capsys.readouterr().out
    assert f'{out}: data (1, 3, 21, 34) prob (1, 7, 21, 34)\n' in said and 'no label differs' in said


@pytest.mark.usefixtures('narrow_nets')
@pytest.mark.parametrize('name', KINDS)
def test_every_kind_of_network_in_both_engines(name, tmp_path):
    """Both engines give Caffe's probabilities of a picture, up to rounding."""
    image, weights = random_image(*SIZE_HW), random_weights(name, tmp_path / 'w.caffemodel')
    expected, blobs, _ = onnx_check.by_caffe(name, [weights], 'tight', image)
    assert expected.std() > 1e-3
    onnx.save(onnx_export.picture_model(name, blobs, SIZE_HW, 'tight'), tmp_path / 'm.onnx')
    tolerance = 1e-4 if 'msc' in name else 2e-5  # it adds six maps of random weights
    np.testing.assert_allclose(in_onnxruntime(tmp_path / 'm.onnx', image), expected, atol=tolerance)
    np.testing.assert_allclose(in_opencv(tmp_path / 'm.onnx', image), expected, atol=tolerance)


@pytest.mark.parametrize('name', [name for name, row in NETS.items() if row.crf_rnn])
def test_crf_rnn_is_refused_with_its_reason(name, tmp_path):
    """The message names the same network without CRF-RNN, if NETS has it."""
    advice = '; export .*, the same network without' if name != 'fcn8s_pascal_voc_crfrnn' else '; tools/predict.py labels with it'
    with pytest.raises(UserError, match=f'{name} ends in CRF-RNN, which .*: ONNX has no operation for that{advice}'):
        run(tmp_path / 'none', tmp_path / 'm.onnx', net=name)


@pytest.mark.parametrize(('name', 'size_hw'), [
    ('dilation8_pascal_voc', (528, 528)), ('dilation8_camvid', (528, 728)), ('dilation7_kitti', (480, 1268)),
    ('dilation10_cityscapes', (1024, 1024)), ('fcn8s_pascal_voc', (500, 500)),
])  # fmt: skip
def test_the_usual_size_is_what_a_tile_covers(name, size_hw):
    """Inputs of 900x900, 900x1100, 852x1640 and 1396x1396 lose 2 x 186 pixels. A network without tiles has its own size."""
    assert onnx_export.default_size(name) == size_hw


def test_the_file_has_a_description(basic_weights, tmp_path):
    """It has the classes and their colours, the network, the data set, and the weights."""
    session = onnxruntime.InferenceSession(str(run(basic_weights, tmp_path / 'm.onnx', '--size', '9x13')))
    said, facts = session.get_modelmeta().custom_metadata_map, dataset('toy')
    assert (said['net'], said['dataset']) == ('basic_toy', 'toy')
    assert json.loads(said['classes']) == list(facts.classes)
    assert json.loads(said['colours_rgb']) == [list(colour) for colour in facts.palette]
    assert json.loads(said['weights']) == [f'{basic_weights.name}, sha256 {file_sum(basic_weights)}']


@pytest.mark.parametrize(('size_hw', 'pads'), [((5, 7), (2, 1, 0, 3)), ((5, 7), (4, 6, 4, 6)), ((3, 9), (11, 0, 20, 40))])
def test_reflection_is_numpys(size_hw, pads):
    """A border that is wider than the picture needs several steps."""
    values = np.random.default_rng(0).normal(size=(1, 2, *size_hw)).astype(np.float32)
    graph = OnnxGraph()
    append_reflection(graph, 'data', size_hw, pads)
    top, left, bottom, right = pads
    expected = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)), mode='reflect')
    np.testing.assert_array_equal(run_onnx(graph.model(values.shape), values), expected)


def test_a_wrong_model_is_not_written(basic_weights, tmp_path, monkeypatch):
    """The command finds that the mean is left out. An existing file stays."""
    out = tmp_path / 'm.onnx'
    out.write_text('mine')
    monkeypatch.setattr(onnx_export, 'mean_bgr', lambda row: (0, 0, 0))
    with pytest.raises(UserError, match='onnxruntime and Caffe differ by .*, more than 1e-05; nothing is written'):
        run(basic_weights, out, '--size', '9x13')
    assert out.read_text() == 'mine' and not list(tmp_path.glob('.*'))


def test_the_tolerance_grows_with_the_scores():
    """For scores up to 100, float32 gives probabilities to 2e-4; up to 1 the limit is 1e-5. Only ties change labels."""
    expected = np.array([0.5, 0.5], np.float32).reshape(2, 1, 1)
    found = expected + np.array([-5e-5, 5e-5], np.float32).reshape(2, 1, 1)
    said = onnx_check.compare(found, expected, 100)
    assert said == (
        'largest error of a probability 5.0e-05 (float32 rounds so much where scores reach 100), '
        '1 of 1 labels differ, where two classes are equally probable'
    )
    with pytest.raises(UserError, match='differ by 5.0e-05 in a probability, more than 1e-05'):
        onnx_check.compare(found, expected, 1)
    with pytest.raises(UserError, match='differ by nan'):
        onnx_check.compare(found * np.nan, expected, 100)


def test_without_onnxruntime_the_command_says_what_to_install(basic_weights, tmp_path, monkeypatch):
    """The error comes before Caffe runs."""
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(UserError, match=r"run: \.venv/bin/pip install 'onnxruntime>="):
        run(basic_weights, tmp_path / 'm.onnx')


@pytest.mark.parametrize('size', ['360', '360x', '0x5', '1x5', 'axb', '3x360x480'])
def test_faulty_sizes_are_refused(size, basic_weights, tmp_path, capsys):
    """They are wrong usage: exit status 2."""
    with pytest.raises(SystemExit) as stop:
        run(basic_weights, tmp_path / 'm.onnx', '--size', size)
    assert stop.value.code == 2 and 'write height x width in pixels' in capsys.readouterr().err


def test_you_can_choose_the_picture_of_the_check(basic_weights, tmp_path):
    """A file that is no picture is named."""
    cv2.imwrite(str(tmp_path / 'street.png'), random_image(30, 40))
    assert run(basic_weights, tmp_path / 'm.onnx', '--size', '9x13', '--image', str(tmp_path / 'street.png')).is_file()
    (tmp_path / 'street.png').write_text('none')
    with pytest.raises(UserError, match='street.png cannot be read'):
        run(basic_weights, tmp_path / 'm.onnx', '--size', '9x13', '--image', str(tmp_path / 'street.png'))


def test_the_example_of_the_readme_labels_a_picture(basic_weights, tmp_path):
    """Its twelve lines need neither this toolkit nor Caffe, and write the maps of tools/predict.py."""
    section = (ROOT / 'tools' / 'README.md').read_text().split('tools/export.py`\n')[1]
    lines = re.search(r'```python\n(.*?)```', section, re.DOTALL)[1]
    assert len([line for line in lines.splitlines() if line]) == 12
    run(basic_weights, tmp_path / 'model.onnx', '--size', '21x34')
    cv2.imwrite(str(tmp_path / 'street.png'), random_image(*SIZE_HW))
    loaded = "\nimport sys\nassert not {'tools', 'prototxt', 'dataset_prep', 'pretrained', 'caffe'} & sys.modules.keys()\n"
    subprocess.run([sys.executable, '-c', lines + loaded], cwd=tmp_path, check=True)
    out = tmp_path / 'out'
    predict.main(['--net', 'basic_toy', '--weights', str(basic_weights), '--out', str(out), str(tmp_path / 'street.png')])
    for ours, theirs in (('street.png', 'labels.png'), ('street_color.png', 'labels_color.png')):
        expected, found = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (out / ours, tmp_path / theirs))
        np.testing.assert_array_equal(found, expected)
