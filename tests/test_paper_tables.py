"""The paper's tables against their own arithmetic: a misread number would show in the mean of its row."""

import pytest

from dataset_prep.datasets import dataset
from prototxt.experiments import NETS
from tools.paper_tables import TABLE, TABLES, deviations, implied_background, paper_row

ROWS = [(table, row) for table in TABLES for row in table.rows]
NAMES = [f'{table.number}-{row.name}-{row.split}' for table, row in ROWS]


def test_all_tables_and_rows_are_there():
    """Tables 2 to 8, as many rows as the paper prints."""
    assert {table.number: len(table.rows) for table in TABLES} == {2: 4, 3: 9, 4: 7, 5: 6, 6: 3, 7: 2, 8: 2}


@pytest.mark.parametrize(('table', 'row'), ROWS, ids=NAMES)
def test_each_row_has_a_number_for_each_column(table, row):
    """Percentages, of the classes of the data set or of Cityscapes' categories; only VOC's background is not printed."""
    assert len(row.class_iou) == len(table.columns)
    assert (table.columns == dataset(table.dataset).classes) != table.by_category
    missing = [name for name, value in zip(table.columns, row.class_iou, strict=True) if value is None]
    assert missing == (['background'] if table.dataset == 'pascal_voc' else [])
    assert all(0 <= value <= 100 for value in (*row.class_iou, row.mean_iou) if value is not None)


def test_no_printed_mean_is_another_than_that_of_its_row():
    """Of the rows whose numbers are all printed (Tables 5 to 8): as near as numbers rounded to a tenth allow."""
    assert list(deviations()) == []


@pytest.mark.parametrize('row', [row for table, row in ROWS if table.dataset == 'pascal_voc'], ids=lambda row: row.name)
def test_the_mean_of_a_voc_row_leaves_background_what_it_always_has(row):
    """Background is in the mean and not printed. Rounding moves what is left for it by up to 21 x 0.05 + 20 x 0.05 = 2.05."""
    assert 90 < implied_background(row) < 96


def test_the_text_of_the_paper_gives_the_same_means():
    """Front end: 67.6 (Sec. 4); 69.8 on val and 71.3 on test with COCO (Sec. 5)."""
    assert TABLE[2].row('Our front end').mean_iou == 67.6
    assert (TABLE[3].row('Front end').mean_iou, TABLE[4].row('Front end').mean_iou) == (69.8, 71.3)


def test_a_networks_row_is_of_its_data_set():
    """And of the split asked for; networks that the paper has no numbers of have none."""
    for name, net in NETS.items():
        for split in ('val', 'test'):
            row = paper_row(name, split)
            assert row is None or (row.dataset, row.split) == (net.dataset, split)
    assert paper_row('dilation10_cityscapes', 'test').mean_iou == 67.1 and paper_row('basic_toy', 'test') is None
