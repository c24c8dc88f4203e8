"""When the loss ends a training, and which causes the message names."""

import math

import pytest

from pretrained import caffemodel
from pretrained.identity import identity_weights
from tests.train_data import asked, iterations, maps_lmdb
from tools.support.errors import UserError
from tools.training.caffe_log import LogRow
from tools.training.record import read_record
from tools.training.session import train
from tools.training.snapshots import snapshots
from tools.training.watch import Watch

UNKNOWING = math.log(7)  # the loss of a uniform guess among the seven classes of 'toy'


def watched(losses, *words):
    """(Watch, first iteration with a fault, the fault) for a run with these losses; None, None without a fault."""
    watch = Watch(asked('toy-basic', *words))
    for iteration, loss in enumerate(losses):
        if fault := watch.fault(LogRow(iteration, loss, 1e-3, 0.1)):
            return watch, iteration, fault
    return watch, None, None


@pytest.mark.parametrize('number', [math.nan, math.inf])
def test_loss_that_is_not_finite_is_a_fault_at_once(number):
    """This holds in the first iteration, too."""
    assert watched([number])[1] == 0


def test_warm_up_may_be_rough():
    """Any finite loss is accepted in the first 100 iterations."""
    assert watched([50.0] * 100 + [UNKNOWING] * 100)[1] is None


def test_mean_of_50_above_three_times_ln_c_is_a_fault():
    """A single large loss is no fault, and 2.9 times ln C is none."""
    assert watched([2.9 * UNKNOWING] * 300)[1] is None
    assert watched([1.0] * 200 + [80.0] + [1.0] * 100)[1] is None
    _, iteration, fault = watched([3.1 * UNKNOWING] * 300)
    assert iteration == 149
    assert '6.03 on average for 50 iterations up to 149, ln 7 is 1.95' in fault


def test_max_loss_replaces_the_limit():
    """--max-loss replaces 3 ln C, downwards and upwards."""
    assert watched([2.0] * 300, '--max-loss', 1.5)[1] == 149
    assert watched([50.0] * 300, '--max-loss', 60)[1] is None


def test_limit_of_a_summed_loss():
    """FCN sums over 512 x 512 pixels, so the limit is 512 x 512 x 3 ln 21; iterations below it are good."""
    watch = Watch(asked('voc-fcn8s'))
    for iteration in range(200):
        assert watch.fault(LogRow(iteration, 2.9 * math.log(21) * 512**2, 1e-14, 0.1)) is None
    assert watch.good == 199
    fault = next(filter(None, (watch.fault(LogRow(i, 3.1 * math.log(21) * 512**2, 1e-14, 0.1)) for i in range(200, 300))))
    assert '262144 x ln 21 is 7.98e+05' in fault


def test_last_good_iteration_is_before_the_loss_rose():
    """150 losses of 1, then 87: the mean of the last 50 exceeds 3 ln 7 = 5.84 once it contains three of them."""
    watch, iteration, _ = watched([1.0] * 150 + [87.0] * 50)
    assert (watch.good, iteration) == (151, 152)


def test_learning_rate_is_the_first_cause_if_the_loss_began_at_ln_c():
    """The message also names the rate of the row if the user gave another one."""
    causes = watched([UNKNOWING] + [9.0] * 200, '--base-lr', 0.5)[0].causes()
    assert causes.index("learning rate 0.5 is too large, the row's is 0.0003") < causes.index('labels') < causes.index('initial')


def test_weights_are_the_first_cause_if_the_loss_began_too_large():
    """The learning rate has no effect before the first update."""
    causes = watched([30.0] * 200)[0].causes()
    assert causes.startswith('it began with 30; ')
    assert causes.index('initial weights that do not fit (identity)') < causes.index('labels') < causes.index('learning rate')


def test_training_from_bad_weights_is_ended(tmp_path):
    """30 times the identity, at a rate that changes nothing: iteration 149 is the last, and the snapshots stay."""
    weights = {layer: [30 * blob for blob in blobs] for layer, blobs in identity_weights('basic_toy').items()}
    caffemodel.write(tmp_path / 'spoiled.caffemodel', weights)
    words = (
        'toy-basic',
        '--lmdb',
        maps_lmdb(tmp_path),
        '--run-dir',
        tmp_path / 'run',
        '--weights',
        tmp_path / 'spoiled.caffemodel',
    )
    with pytest.raises(UserError, match='on average .* no good snapshot yet; it began with .*likely causes: initial weights'):
        train(asked(*words, '--batch', 1, '--base-lr', 1e-20, '--iters', 100_000, '--snapshot', 50))
    assert iterations(tmp_path / 'run') == list(range(150))
    assert len(snapshots(tmp_path / 'run')) >= 2
    assert read_record(tmp_path / 'run')['sessions'][-1]['how'].startswith('failed: ')
