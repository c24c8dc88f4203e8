"""Sizes, crops and short names."""

import pytest

from prototxt import shapes
from prototxt.experiments import NETS, STAGES
from prototxt.names import resolve
from tools.support.errors import UserError


def test_constants_of_the_front_end():
    """380 pixels of receptive field, stride 8, 372 fewer pixels, 186 a side: as in the authors' code."""
    assert (shapes.RECEPTIVE_FIELD, shapes.STRIDE, shapes.SHRINK, shapes.MARGIN) == (380, 8, 372, 186)


@pytest.mark.parametrize(('crop', 'nearest'), [(510, '508 and 516'), (501, '500 and 508'), (1399, '1396 and 1404')])
def test_crop_that_does_not_fit_names_the_nearest(crop, nearest):
    """(crop - 372) must be a multiple of 8."""
    with pytest.raises(UserError, match=nearest):
        shapes.check_crop_size(crop)


def test_crop_too_small():
    """380 is the smallest crop: one score cell."""
    assert shapes.check_crop_size(380) == 380
    with pytest.raises(UserError, match='380'):
        shapes.check_crop_size(372)


def test_input_too_small_for_a_window():
    """An input that runs out of pixels is refused by the layer where it does."""
    with pytest.raises(ValueError, match='fc6'):
        shapes.front_end_size(371)


@pytest.mark.parametrize('name', STAGES)
def test_rows_crop_fits(name):
    """Every row's crop is one that works."""
    if STAGES[name].crop_size:
        shapes.check_crop_size(STAGES[name].crop_size)


@pytest.mark.parametrize('name', STAGES)
def test_batch_is_a_whole_number_of_passes(name):
    """The batch of the solver is iter_size passes of equal size."""
    stage = STAGES[name]
    assert stage.batch_per_pass * stage.iter_size == stage.batch_size


@pytest.mark.parametrize(
    ('typed', 'row'),
    [('dilation10', 'dilation10_cityscapes'), ('dilation7', 'dilation7_kitti'), ('dilation8-camvid', 'dilation8_camvid')],
)
def test_short_names(typed, row):
    """A beginning that only one row has stands for it; a whole name is not ambiguous because a longer one exists."""
    assert resolve(typed, NETS) == row


def test_ambiguous_name_lists_the_rows():
    """dilation8 is several rows."""
    with pytest.raises(UserError, match='dilation8_pascal_voc.*dilation8_camvid'):
        resolve('dilation8', NETS)


def test_unknown_name_lists_the_table():
    """A name that no row has is refused with the rows there are."""
    with pytest.raises(UserError, match='no network segnet; there are: dilation8_pascal_voc'):
        resolve('segnet', NETS)
