"""The paper's tables against their own arithmetic (a misread number changes the mean of its row), and the system of each row."""

import pytest

from dataset_prep.datasets import dataset
from pretrained.weights import WEIGHTS
from prototxt.experiments import NETS, STAGES
from tools.report.paper_tables import TABLE, TABLES, paper_row

ROWS = [(table, row) for table in TABLES for row in table.rows]
NAMES = [f'{table.number}-{row.name}-{row.split}' for table, row in ROWS]


def test_all_tables_and_rows_are_there():
    """The paper prints so many rows in Tables 2 to 8."""
    assert {table.number: len(table.rows) for table in TABLES} == {2: 4, 3: 9, 4: 7, 5: 6, 6: 3, 7: 2, 8: 2}


@pytest.mark.parametrize(('table', 'row'), ROWS, ids=NAMES)
def test_each_row_has_a_number_for_each_column(table, row):
    """Columns are the classes of the data set or Cityscapes' categories. Numbers are percentages; VOC's background has none."""
    assert len(row.class_iou) == len(table.columns)
    assert (table.columns == dataset(table.dataset).classes) != table.by_category
    missing = [name for name, value in zip(table.columns, row.class_iou, strict=True) if value is None]
    assert missing == (['background'] if table.dataset == 'pascal_voc' else [])
    assert all(0 <= value <= 100 for value in (*row.class_iou, row.mean_iou) if value is not None)


def test_each_printed_mean_is_the_mean_of_its_row():
    """This holds for rows whose numbers are all printed (Tables 5 to 8), as far as rounding to a tenth allows."""
    for _, row in ROWS:
        if None not in row.class_iou:
            mean = sum(row.class_iou) / len(row.class_iou)
            assert abs(mean - row.mean_iou) <= 0.1, row.name  # half a tenth each


@pytest.mark.parametrize('row', [row for table, row in ROWS if table.dataset == 'pascal_voc'], ids=lambda row: row.name)
def test_the_mean_of_a_voc_row_implies_a_usual_background(row):
    """Background is in the mean but not printed. Rounding changes the implied value by up to 21 x 0.05 + 20 x 0.05 = 2.05."""
    implied = len(row.class_iou) * row.mean_iou - sum(value for value in row.class_iou if value is not None)
    assert 90 < implied < 96


def test_the_text_of_the_paper_gives_the_same_means():
    """The front end has 67.6 (Sec. 4), and with COCO 69.8 on val and 71.3 on test (Sec. 5)."""
    assert TABLE[2].row('Our front end').mean_iou == 67.6
    assert (TABLE[3].row('Front end').mean_iou, TABLE[4].row('Front end').mean_iou) == (69.8, 71.3)


MADE_HERE = [(table, row) for table, row in ROWS if row.here]


@pytest.mark.parametrize(('table', 'row'), MADE_HERE, ids=lambda value: getattr(value, 'name', ''))
def test_how_a_row_is_made_here_is_consistent(table, row):
    """The network is of the table's data set; stages and weights are of the network; without stages there is a reason."""
    here = row.here
    assert NETS[here.net].dataset == table.dataset
    assert all(STAGES[stage].net == here.net for stage in here.stages)
    assert here.weights in ('', here.net) and (not here.weights or here.weights in WEIGHTS)
    assert bool(here.stages) != bool(here.missing)


def test_no_two_rows_of_a_split_are_the_same_system():
    """A score has one row, but in Tables 7 and 8, which have the classes and the categories of one test."""
    said = [(row.here.net, row.here.crf, stage, row.split, table.by_category)
            for table, row in MADE_HERE for stage in (*row.here.stages, row.here.weights) if stage]  # fmt: skip
    assert len(said) == len(set(said))


@pytest.mark.parametrize(
    ('net', 'split', 'source', 'crf', 'expected'),
    [
        ('front_pascal_voc', 'val', 'voc-coco-front-finetune', False, (3, 'Front end')),
        ('front_pascal_voc', 'test', 'voc-coco-front-finetune', False, (4, 'Front end')),
        ('front_pascal_voc', 'test', 'voc-front', False, (2, 'Our front end')),
        ('deeplab_pascal_voc', 'test', 'voc-deeplab', False, (2, 'DeepLab')),
        ('deeplab_msc_pascal_voc', 'test', 'voc-deeplab-msc', False, (2, 'DeepLab-Msc')),
        ('deeplab_largefov_pascal_voc', 'test', 'voc-coco-deeplab-largefov', True, (4, 'DeepLab++')),
        ('basic_pascal_voc', 'val', 'voc-context-basic', True, (3, 'Front + Basic + CRF')),
        ('large_pascal_voc_crfrnn', 'val', 'voc-large-crfrnn', False, (3, 'Front + Large + RNN')),
        ('deeplab_largefov_camvid', 'test', 'camvid-deeplab-largefov', False, (5, 'DeepLab-LFOV')),
        ('dilation8_camvid', 'test', 'camvid-joint', False, (5, 'Dilation8')),
        ('dilation8_camvid', 'test', 'dilation8_camvid', False, (5, 'Dilation8')),
        ('dilation10_cityscapes', 'test', 'dilation10_cityscapes', False, (7, 'Dilation10')),
        ('front_pascal_voc', 'val', 'voc-front', False, None),  # Table 3 is with COCO
        ('basic_pascal_voc_fyu', 'val', 'voc-context-basic-fyu', False, None),
        ('basic_pascal_voc_reflect', 'val', 'voc-context-basic-reflect', False, None),
        ('dilation8_pascal_voc', 'val', 'voc-large-joint-fyu', False, None),  # Table 3 is without joint training
        ('deeplab_largefov_pascal_voc', 'test', 'voc-deeplab-largefov', False, None),  # Table 2 has the plain DeepLab
        ('deeplab_largefov_pascal_voc', 'test', 'voc-deeplab-largefov', True, None),  # Table 4 has it with COCO
        ('deeplab_msc_largefov_pascal_voc', 'test', 'deeplab-msc-coco-largefov', True, None),  # Table 4 has CrossJoint
        ('front_camvid', 'test', 'camvid-front', False, None),  # Table 5 has only Dilation8
        ('dilation8_camvid_fc128', 'test', 'camvid-cpu-joint', False, None),
        ('dilation8_camvid', 'test', 'camvid-joint', True, None),  # Table 5 is without a CRF
        ('dilation8_camvid', 'val', 'camvid-joint', False, None),
        ('dilation8_camvid', 'test', '', False, None),  # weights of unknown origin
        ('dilation10_cityscapes', 'val', 'cityscapes-context', False, None),
        ('basic_toy', 'test', 'toy-basic', False, None),
    ],
)
def test_the_row_of_a_tested_system(net, split, source, crf, expected):
    """Network, split, weights and refinement decide. A system that is not in the paper has no row, not another system's."""
    stage, weights = (source, '') if source in STAGES else ('', source)
    row = paper_row(net, split, stage, weights, crf=crf)
    found = next(((table.number, row.name) for table, other in ROWS if row is other), None)
    assert found == expected


def test_categories_have_a_row_of_their_own():
    """Table 8 has the systems of Table 7."""
    assert paper_row('dilation10_cityscapes', 'val', 'cityscapes-joint', by_category=True) is TABLE[8].rows[0]
    assert paper_row('dilation8_camvid', 'test', 'camvid-joint', by_category=True) is None
