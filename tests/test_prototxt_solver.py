"""Solvers against the paper's text."""

import pytest

from prototxt.experiments import STAGES
from prototxt.solver import solver


def test_camvid_front_is_the_papers():
    """Paper A and A.1: learning rate 1e-4, momentum 0.99, 20K iterations, crops of 628, batch 8."""
    message = solver(STAGES['camvid-front'], 'n', 's')
    assert (message.base_lr, message.momentum, message.max_iter) == (pytest.approx(1e-4), pytest.approx(0.99), 20000)
    assert (STAGES['camvid-front'].crop_size, STAGES['camvid-front'].batch_size) == (628, 8)
    assert message.weight_decay == pytest.approx(0.0005)


def test_camvid_joint_is_the_papers():
    """Paper A: joint training at learning rate 1e-5, momentum 0.9, crops of 852, one image a step."""
    message = solver(STAGES['camvid-joint'], 'n', 's')
    assert (message.base_lr, message.momentum) == (pytest.approx(1e-5), pytest.approx(0.9))
    assert (STAGES['camvid-joint'].crop_size, STAGES['camvid-joint'].batch_size) == (852, 1)


def test_steps_divide_by_ten():
    """A row with steps gets Caffe's multistep policy with gamma 0.1."""
    name = next(name for name, stage in STAGES.items() if stage.lr_steps)
    message = solver(STAGES[name], 'n', 's')
    assert (message.lr_policy, tuple(message.stepvalue)) == ('multistep', STAGES[name].lr_steps)
    assert message.gamma == pytest.approx(0.1)
