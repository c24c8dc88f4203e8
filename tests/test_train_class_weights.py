"""Class weights: counted, read from a file, and in the loss of real Caffe."""

import numpy as np
import pytest

from dataset_prep.class_frequency import count_classes, median_frequency_weights
from dataset_prep.datasets import IGNORE_LABEL, dataset
from dataset_prep.lmdb_store import read_manifest
from prototxt.layers import L, caffe, loss
from prototxt.networks import training, write
from tests.stored_maps import write_features
from tests.train_data import CLASSES, asked, finish, images_lmdb, losses, maps_lmdb
from tools.netinfo.memory_estimate import estimate
from tools.netinfo.setup import layers_of
from tools.support.errors import UserError
from tools.train import parse_args
from tools.training.class_weights import MATRIX, ClassWeights, count_weights, read_weights, write_matrix
from tools.training.record import read_record
from tools.training.session import train

TOY = dataset('toy')


def weights_file(folder, weights):
    """A file of weights for the classes of `toy`."""
    path = folder / 'weights.txt'
    path.write_text(''.join(f'{name} {weight}\n' for name, weight in zip(TOY.classes, weights, strict=True)))
    return path


def test_median_frequency_weights_by_hand(tmp_path):
    """Eigen and Fergus: class 2 is absent from the first image, whose pixels then do not count for it.

    Image 1: 6 pixels of class 0, 2 of class 1, 2 ignored. Image 2: 2 of class 0, 4 of class 1, 4 of class 2.
    Frequencies 8/18, 6/18 and 4/10, of which 4/10 is the median.
    """
    labels = [[0] * 6 + [1] * 2 + [IGNORE_LABEL] * 2, [0] * 2 + [1] * 4 + [2] * 4]
    maps = np.zeros((3, 2, 5), np.float32)
    records = [(f'r{index}', maps, np.array(row, np.uint8).reshape(2, 5)) for index, row in enumerate(labels)]
    write_features(tmp_path / 'maps', records, {'dataset': 'toy'})
    counts = count_classes(tmp_path / 'maps', 4)
    assert counts.pixels.tolist() == [8, 6, 4, 0]
    assert counts.pixels_of_images.tolist() == [18, 18, 10, 0]
    np.testing.assert_allclose(median_frequency_weights(counts), [0.9, 1.2, 1.0, 1.0])


@pytest.mark.parametrize('encoding', ['raw', 'png'])
def test_labels_of_images_are_counted_without_their_margin(tmp_path, encoding):
    """The manifest has the same numbers; the writer counted them before it padded the images."""
    lmdb = images_lmdb(tmp_path, encoding=encoding)
    wanted = read_manifest(lmdb)['pixels_per_class']
    assert count_classes(lmdb, CLASSES).pixels.tolist() == list(wanted.values())


@pytest.mark.parametrize('normalization', ['VALID', 'NONE'])
def test_loss_and_gradient_are_those_of_a_weighted_softmax(tmp_path, normalization):
    """Plain NumPy: loss and gradient of a pixel times its class weight, divided by the number of labelled pixels."""
    rng, shape, weights = np.random.default_rng(0), (2, 4, 3, 5), np.array([0.25, 1.0, 0.0, 3.5])
    scores, label = rng.normal(0, 2, shape), rng.integers(0, 4, (2, 3, 5))
    label[0, 0, :2] = IGNORE_LABEL
    write_matrix(tmp_path, ClassWeights(tuple(weights), 1.0))
    net = loss_net(tmp_path, shape, normalization, str(tmp_path / MATRIX))
    net.blobs['scores'].data[...], net.blobs['label'].data[...] = scores, label[:, None]
    found = net.forward()['loss']
    net.backward()

    valid = label != IGNORE_LABEL
    one_hot = np.eye(256)[label][..., :4].transpose(0, 3, 1, 2)
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    weight = np.where(valid, weights[np.minimum(label, 3)], 0)[:, None]
    pixels = valid.sum() if normalization == 'VALID' else 1
    np.testing.assert_allclose(found, -(weight * one_hot * np.log(softmax)).sum() / pixels, rtol=1e-5)
    np.testing.assert_allclose(net.blobs['scores'].diff, weight * (softmax - one_hot) / pixels, atol=1e-6)


def loss_net(folder, shape, normalization, class_weights):
    """A net with two inputs and the loss; its backward pass computes the gradient of the scores."""
    net = caffe.NetSpec()
    net.scores, net.label = L.Input(shape=dict(dim=list(shape))), L.Input(shape=dict(dim=[shape[0], 1, *shape[2:]]))
    net.loss = loss(net.scores, net.label, IGNORE_LABEL, normalization, class_weights)
    message = net.to_proto()
    message.force_backward = True
    write(message, folder / 'net.prototxt')
    return caffe.Net(str(folder / 'net.prototxt'), caffe.TRAIN)


@pytest.mark.parametrize('gpu', [False, True])
def test_class_weights_need_no_more_memory(gpu):
    """Both loss layers keep the probabilities and one gradient of the same size."""
    nets = [training('camvid-front', 'x', 628, 8, True, class_weights) for class_weights in (None, 'x')]
    plain, weighted = (estimate(layers_of(net, 'train'), training=True, gpu=gpu) for net in nets)
    assert weighted == plain


def test_a_run_has_its_weights_in_the_record_and_the_loss(basic, tmp_path, capsys):
    """Weights of 2 double the first loss, and the mean weight of a pixel is 2."""
    finish(*basic, '--iters', 2, '--run-dir', tmp_path / 'plain')
    twice = '--class-weights', weights_file(tmp_path, [2] * CLASSES)
    finish(*basic, '--iters', 2, *twice)
    assert losses(tmp_path / 'run')[0] == pytest.approx(2 * losses(tmp_path / 'plain')[0], rel=1e-5)
    record = read_record(tmp_path / 'run')
    assert record['class_weights'] == {'weights': dict.fromkeys(TOY.classes, 2.0), 'mean': 2.0}
    assert read_record(tmp_path / 'plain')['class_weights'] is None
    assert 'class weights: sky 2, mountain 2' in capsys.readouterr().err


def test_a_run_continues_only_with_the_weights_that_it_began_with(basic, tmp_path):
    """A run with `median` refuses a file of weights and no weights; it does not count the LMDB again."""
    words = *basic, '--lmdb', maps_lmdb(tmp_path, top_label=0)
    finish(*words, '--class-weights', 'median', '--iters', 2)
    begun = read_record(tmp_path / 'run')['class_weights']
    assert 0.4 < begun['weights']['sky'] < 0.6  # class 0 has the pixels of two of seven
    assert begun['weights']['field'] == 1  # class 6 never occurs
    finish(*words, '--class-weights', 'median', '--iters', 4)
    assert read_record(tmp_path / 'run')['class_weights'] == begun
    ones = '--class-weights', weights_file(tmp_path, [1] * CLASSES)
    said = r'begun with class_weights median, .*give --class-weights \(CLASS_WEIGHTS=\) as before'
    for other in ((), ones):
        with pytest.raises(UserError, match=said):
            train(asked(*words, *other, '--iters', 6))


def test_class_names_with_blanks_and_separators_before_the_weight(tmp_path):
    """Any of five separators may stand between a class and its weight; # begins a comment."""
    facts = dataset('cityscapes')
    marks = [' ', ': ', ', ', '=', '\t']
    forms = [f'{name}{marks[index % 5]}{index}.5' for index, name in enumerate(facts.classes)]
    (tmp_path / 'w.txt').write_text('# weights\n' + '\n'.join(forms[::-1]) + '\n')
    assert read_weights(str(tmp_path / 'w.txt'), facts) == tuple(index + 0.5 for index in range(19))


@pytest.mark.parametrize(
    ('change', 'fault'),
    [
        (lambda text: text.replace('tree', 'trees'), r'w.txt line 3: no class trees in toy; did you mean tree\?'),
        (lambda text: text.replace('barn 1\n', ''), 'w.txt: no weight for barn; each class of toy needs one'),
        (lambda text: text + 'barn 2\n', 'w.txt line 8: a second weight for barn'),
        (lambda text: text.replace('1', '0'), 'w.txt: all weights are 0'),
        (lambda text: text.replace('sky 1', 'sky -1'), "w.txt line 1: cannot read 'sky -1'; write a class and"),
        (lambda text: text.replace('sky 1', 'sky nan'), 'w.txt line 1: cannot read'),
        (lambda text: text.replace('sky 1', 'sky inf'), 'w.txt line 1: cannot read'),
        (lambda text: text.replace('sky 1', 'sky'), 'w.txt line 1: cannot read'),
        (lambda text: text.replace('sky 1', 'sky one'), 'w.txt line 1: cannot read'),
    ],
)  # fmt: skip
def test_faults_of_a_file_of_weights(tmp_path, change, fault):
    """The message names file, line and next step."""
    path = weights_file(tmp_path, [1] * CLASSES).rename(tmp_path / 'w.txt')
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=fault):
        asked('toy-basic', '--class-weights', path)


def test_an_lmdb_without_any_weighted_pixel_is_refused(tmp_path):
    """All labels are 255, or the one class whose weight is 0."""
    for value, fault in ((IGNORE_LABEL, 'no pixel has a label'), (0, 'all classes that occur have weight 0')):
        row = 'r', np.zeros((7, 2, 2), np.float32), np.full((2, 2), value, np.uint8)
        write_features(tmp_path / 'maps', [row], {'dataset': 'toy'})
        with pytest.raises(UserError, match=fault):
            count_weights((0.0, *[1.0] * 6), tmp_path / 'maps', TOY)


def test_the_path_of_the_weights_is_absolute(tmp_path, monkeypatch):
    """The commands of a chain run in another folder."""
    monkeypatch.chdir(tmp_path)
    assert parse_args(['toy', '--class-weights', 'weights.txt']).options.class_weights == str(tmp_path / 'weights.txt')
