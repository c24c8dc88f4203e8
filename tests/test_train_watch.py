"""When the loss ends a training, and which causes the message names."""

import math

import pytest

from pretrained import caffemodel
from pretrained.identity import identity_weights
from tests.train_data import asked, iterations
from tools.support.errors import UserError
from tools.training.caffe_log import LogRow
from tools.training.class_weights import ClassWeights
from tools.training.record import read_record
from tools.training.session import train
from tools.training.snapshots import snapshots
from tools.training.watch import Watch

UNKNOWING = math.log(7)  # the loss of a uniform guess among the seven classes of 'toy'


def watched(losses, *words, class_weights=None):
    """(Watch, first iteration with a fault, the fault) for a run with these losses; None, None without a fault."""
    watch = Watch(asked(*(words or ('toy-basic',))), class_weights)
    for iteration, loss in enumerate(losses):
        if fault := watch.fault(LogRow(iteration, loss, 1e-3, 0.1)):
            return watch, iteration, fault
    return watch, None, None


@pytest.mark.parametrize('number', [math.nan, math.inf])
def test_loss_that_is_not_finite_is_a_fault_at_once(number):
    """This holds in the first iteration, too."""
    assert watched([number])[1] == 0


@pytest.mark.parametrize('losses', [[50.0] * 100 + [UNKNOWING] * 100, [1.0] * 200 + [80.0] + [1.0] * 100])
def test_loss_that_may_be_large(losses):
    """Any finite loss in the first 100 iterations, and a single one later."""
    assert watched(losses)[1] is None


@pytest.mark.parametrize(
    ('words', 'mean_weight', 'below', 'above', 'said'),
    [
        ('toy-basic', None, 2.9 * UNKNOWING, 3.1 * UNKNOWING, '6.03 on average for 50 iterations up to 149, ln 7 is 1.95'),
        ('toy-basic --max-loss 1.5', None, 1.4, 1.6, ''),
        ('toy-basic --max-loss 60', None, 59, 61, ''),
        ('toy-basic', 4.0, 2.9 * 4 * UNKNOWING, 3.1 * 4 * UNKNOWING, '4 x ln 7 is 7.78'),
        # FCN sums over 512 x 512 pixels.
        ('voc-fcn8s', None, 2.9 * 512**2 * math.log(21), 3.1 * 512**2 * math.log(21), '262144 x ln 21 is 7.98e+05'),
    ],
)
def test_mean_of_50_after_the_first_100_has_a_limit(words, mean_weight, below, above, said):
    """The limit is 3 times the loss of a uniform guess, or --max-loss. An iteration below it is good."""
    class_weights = mean_weight and ClassWeights((mean_weight,) * 7, mean_weight)
    watch, iteration, _ = watched([below] * 300, *words.split(), class_weights=class_weights)
    assert (watch.good, iteration) == (299, None)
    _, iteration, fault = watched([above] * 300, *words.split(), class_weights=class_weights)
    assert iteration == 149 and said in fault


def test_last_good_iteration_is_before_the_loss_rose():
    """150 losses of 1, then 87: the mean of the last 50 exceeds 3 ln 7 = 5.84 once it contains three of them."""
    watch, iteration, _ = watched([1.0] * 150 + [87.0] * 50)
    assert (watch.good, iteration) == (151, 152)


def test_a_weighted_loss_is_clipped_earlier():
    """InfogainLoss clips probabilities at 1e-20, whose -ln is 46.05; SoftmaxWithLoss goes to 87.3."""
    row, weights = LogRow(0, 46.0517, 1e-3, 0.1), ClassWeights((1.0,) * 7, 1.0)
    assert not row.sound(Watch(asked('toy-basic'), weights).worst)
    assert row.sound(Watch(asked('toy-basic')).worst)


@pytest.mark.parametrize(
    ('losses', 'rate', 'causes'),
    [
        ([UNKNOWING] + [9.0] * 200, 0.5, ("learning rate 0.5 is too large, the row's is 0.0003", 'labels', 'initial')),
        ([30.0] * 200, 0.0003, ('it began with 30; ', 'initial weights that do not fit (identity)', 'labels', 'learning rate')),
    ],
)
def test_likely_causes_are_named_in_order(losses, rate, causes):
    """The learning rate comes first if the loss began at ln C: it has no effect before the first update. Else it comes last."""
    said = watched(losses, 'toy-basic', '--base-lr', rate)[0].causes()
    places = [said.index(cause) for cause in causes]
    assert places == sorted(places)


def test_training_from_bad_weights_is_ended(basic, tmp_path):
    """30 times the identity, at a rate that changes nothing: iteration 149 is the last, and the snapshots stay."""
    weights = {layer: [30 * blob for blob in blobs] for layer, blobs in identity_weights('basic_toy').items()}
    caffemodel.write(tmp_path / 'spoiled.caffemodel', weights)
    words = *basic, '--weights', tmp_path / 'spoiled.caffemodel', '--batch', 1, '--base-lr', 1e-20
    with pytest.raises(UserError, match='on average .* no good snapshot yet; it began with .*likely causes: initial weights'):
        train(asked(*words, '--iters', 100_000, '--snapshot', 50))
    assert iterations(tmp_path / 'run') == list(range(150))
    assert len(snapshots(tmp_path / 'run')) >= 2
    assert read_record(tmp_path / 'run')['sessions'][-1]['how'].startswith('failed: ')
