"""All rows of the paper's Tables 2 to 8 (Yu & Koltun, ICLR 2016), with prior work: IoU in percent.

The numbers are those of the published text; 82 in the paper is 82.0 here. tests/test_paper_tables.py checks each row by the
paper's own arithmetic. Each row also states how it is made here, or why it is not. tools/test.py, `make tables` and the report
read that, so that a score stands beside the number of its own system or beside none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dataset_prep.datasets import dataset

CATEGORIES = ('flat', 'nature', 'object', 'sky', 'construction', 'human', 'vehicle')  # the columns of Table 8


@dataclass(frozen=True)
class Here:
    """How the system of a row is made here.

    `net`: a row of prototxt.experiments.NETS. `stages`: each of them trains the system's last weights; the first is the paper's
    way. `weights`: the row of pretrained.weights with the authors' file. Either may be missing. `crf`: a dense CRF
    refines the scores. `note`: what a reader must know to compare. `missing`: why it cannot be trained here.
    """

    net: str
    stages: tuple[str, ...] = ()
    weights: str = ''
    crf: bool = False
    note: str = ''
    missing: str = ''

    def is_made_by(self, net: str, stage: str, weights: str, *, crf: bool) -> bool:
        """Whether scores of `net` belong to this system: `stage` trained the weights, or they are the file of `weights`."""
        known = stage in self.stages or (weights != '' and weights == self.weights)
        return known and (net, crf) == (self.net, self.crf)


@dataclass(frozen=True)
class PaperRow:
    """A row of results. `class_iou` follows the columns of the table; None where the paper has no column.

    `source`: the work that the row comes from. `here`: how it is made here; if None, `why_not` is the reason.
    """

    table: str
    name: str
    dataset: str
    split: str
    class_iou: tuple[float | None, ...]
    mean_iou: float
    source: str = ''
    here: Here | None = None
    why_not: str = ''


@dataclass(frozen=True)
class PaperTable:
    """One table. `section`: where the paper describes the experiment. `columns`: class or category names in our order."""

    number: int
    title: str
    section: str
    dataset: str
    columns: tuple[str, ...]
    rows: tuple[PaperRow, ...]

    def row(self, name: str) -> PaperRow:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def by_category(self) -> bool:
        """Whether the columns are Cityscapes' categories."""
        return self.columns == CATEGORIES


OURS = 'this paper'
LONG, CHEN, ZHENG = 'Long et al., 2015', 'Chen et al., 2015a', 'Zheng et al., 2015'
BACKGROUND = None  # it counts in VOC's mean but is not printed


OTHER_PROGRAM = 'no convolutional network, but a program of its own'
VAL_TOO = "its authors trained their public model a second time, on VOC's val too (run_pascal.sh, train 2); no stage here does"
FROM_COCO = f'starts from a public file that COCO was learned with, vgg16_20M_coco; {VAL_TOO}'
CROSS_JOINT = (
    'trained on VOC and COCO at once ("CrossJoint"), of which neither settings nor weights are public; its network is '
    'deeplab_msc_largefov_pascal_voc. The nearest that is public, COCO first and then VOC: make '
    'weights-deeplab-msc-coco-largefov, or make train-voc-coco-deeplab-msc-largefov'
)
HEAVY = (
    "62.2 is of Long et al.'s model of CVPR 2015; here it is the one that they published later, with 67.2 on the test images "
    '(README of shelhamer/fcn.berkeleyvision.org)'
)
ONLY_MODEL = 'the only model that its authors published; they do not say whether it is the one of 74.7'
NO_SETTINGS = 'its authors give no settings for their training on COCO'
FRONT, BASIC, LARGE = 'voc-coco-front-finetune', 'voc-context-basic', 'voc-context-large'
DILATION10 = Here('dilation10_cityscapes', ('cityscapes-joint',), 'dilation10_cityscapes')


def _table(
    number: int,
    title: str,
    section: str,
    data: str,
    split: str,
    *rows: tuple[str, str, str, Here | str],
    columns: Sequence[str] = (),
) -> PaperTable:
    """A table from rows (name, source, the printed numbers with the mean last, how it is made here or why not).

    VOC rows get a blank for the background, which the paper does not print.
    """
    made = []
    for name, source, printed, here in rows:
        *values, mean = map(float, printed.split())
        cells = (BACKGROUND, *values) if data == 'pascal_voc' else tuple(values)
        name, _, own_split = name.partition(' | ')
        how = (None, here) if isinstance(here, str) else (here, '')
        made.append(PaperRow(f'paper Table {number}', name, data, own_split or split, cells, mean, source, *how))
    return PaperTable(number, title, section, data, tuple(columns or dataset(data).classes), tuple(made))


# fmt: off
TABLES = (
    _table(2, 'Front ends alone, trained on VOC 2012 and SBD', 'Sec. 4', 'pascal_voc', 'test',
        ('FCN-8s', LONG,
         '76.8 34.2 68.9 49.4 60.3 75.3 74.7 77.6 21.4 62.5 46.8 71.8 63.9 76.5 73.9 45.2 72.4 37.4 70.9 55.1 62.2',
         Here('fcn8s_pascal_voc', ('voc-fcn8s',), 'fcn8s_pascal_voc', note=HEAVY)),
        ('DeepLab', CHEN,
         '72 31 71.2 53.7 60.5 77 71.9 73.1 25.2 62.6 49.1 68.7 63.3 73.9 73.6 50.8 72.3 42.1 67.9 52.6 62.1',
         Here('deeplab_pascal_voc', ('voc-deeplab',), note=VAL_TOO)),
        ('DeepLab-Msc', CHEN,
         '74.9 34.1 72.6 52.9 61.0 77.9 73.0 73.7 26.4 62.2 49.3 68.4 64.1 74.0 75.0 51.7 72.7 42.5 67.2 55.7 62.9',
         Here('deeplab_msc_pascal_voc', ('voc-deeplab-msc',), note=VAL_TOO)),
        ('Our front end', OURS,
         '82.2 37.4 72.7 57.1 62.7 82.8 77.8 78.9 28 70 51.6 73.1 72.8 81.5 79.1 56.6 77.1 49.9 75.3 60.9 67.6',
         Here('front_pascal_voc', ('voc-front', 'voc-front-fyu'))),
    ),
    _table(3, 'The context module in three architectures, trained on VOC 2012, SBD and COCO', 'Sec. 5', 'pascal_voc', 'val',
        ('Front end', OURS,
         '86.3 38.2 76.8 66.8 63.2 87.3 78.7 82 33.7 76.7 53.5 73.7 76 76.6 83 51.9 77.8 44 79.9 66.3 69.8',
         Here('front_pascal_voc', (FRONT,))),
        ('Front + Basic', OURS,
         '86.4 37.6 78.5 66.3 64.1 89.9 79.9 84.9 36.1 79.4 55.8 77.6 81.6 79 83.1 51.2 81.3 43.7 82.3 65.7 71.3',
         Here('basic_pascal_voc', (BASIC,))),
        ('Front + Large', OURS,
         '87.3 39.2 80.3 65.6 66.4 90.2 82.6 85.8 34.8 81.9 51.7 79 84.1 80.9 83.2 51.2 83.2 44.7 83.4 65.6 72.1',
         Here('dilation8_pascal_voc', (LARGE,), 'dilation8_pascal_voc')),
        ('Front end + CRF', OURS,
         '89.2 38.8 80 69.8 63.2 88.8 80 85.2 33.8 80.6 55.5 77.1 80.8 77.3 84.3 53.1 80.4 45 80.7 67.9 71.6',
         Here('front_pascal_voc', (FRONT,), crf=True)),
        ('Front + Basic + CRF', OURS,
         '89.1 38.7 81.4 67.4 65 91 81 86.7 37.5 81 57 79.6 83.6 79.9 84.6 52.7 83.3 44.3 82.6 67.2 72.7',
         Here('basic_pascal_voc', (BASIC,), crf=True)),
        ('Front + Large + CRF', OURS,
         '89.6 39.9 82.7 66.7 67.5 91.1 83.3 87.4 36 83.3 52.5 80.7 85.7 81.8 84.4 52.6 84.4 45.3 83.7 66.7 73.3',
         Here('dilation8_pascal_voc', (LARGE,), 'dilation8_pascal_voc', crf=True)),
        ('Front end + RNN', OURS,
         '88.8 38.1 80.8 69.1 65.6 89.9 79.6 85.7 36.3 83.6 57.3 77.9 83.2 77 84.6 54.7 82.1 46.9 80.9 66.7 72.5',
         Here('front_pascal_voc_crfrnn', ('voc-front-crfrnn',))),
        ('Front + Basic + RNN', OURS,
         '89 38.4 82.3 67.9 65.2 91.5 80.4 87.2 38.4 82.1 57.7 79.9 85 79.6 84.5 53.5 84 45 82.8 66.2 73.1',
         Here('basic_pascal_voc_crfrnn', ('voc-basic-crfrnn',))),
        ('Front + Large + RNN', OURS,
         '89.3 39.2 83.6 67.2 69 92.1 83.1 88 38.4 84.8 55.3 81.2 86.7 81.3 84.3 53.6 84.4 45.8 83.8 67 73.9',
         Here('large_pascal_voc_crfrnn', ('voc-large-crfrnn',))),
    ),
    _table(4, 'On the evaluation server, trained on VOC 2012, SBD and COCO', 'Sec. 5', 'pascal_voc', 'test',
        ('DeepLab++', CHEN,
         '89.1 38.3 88.1 63.3 69.7 87.1 83.1 85 29.3 76.5 56.5 79.8 77.9 85.8 82.4 57.4 84.3 54.9 80.5 64.1 72.7',
         Here('deeplab_largefov_pascal_voc', ('voc-coco-deeplab-largefov',), crf=True, note=FROM_COCO)),
        ('DeepLab-MSc++', CHEN,
         '89.2 46.7 88.5 63.5 68.4 87.0 81.2 86.3 32.6 80.7 62.4 81.0 81.3 84.3 82.1 56.2 84.6 58.3 76.2 67.2 73.9',
         CROSS_JOINT),
        ('CRF-RNN', ZHENG,
         '90.4 55.3 88.7 68.4 69.8 88.3 82.4 85.1 32.6 78.5 64.4 79.6 81.9 86.4 81.8 58.6 82.4 53.5 77.4 70.1 74.7',
         Here('fcn8s_pascal_voc_crfrnn', weights='fcn8s_pascal_voc_crfrnn', note=ONLY_MODEL, missing=NO_SETTINGS)),
        ('Front end', OURS,
         '86.6 37.3 84.9 62.4 67.3 86.2 81.2 82.1 32.6 77.4 58.3 75.9 81 83.6 82.3 54.2 81.5 50.1 77.5 63 71.3',
         Here('front_pascal_voc', (FRONT,))),
        ('Context', OURS,
         '89.1 39.1 86.8 62.6 68.9 88.2 82.6 87.7 33.8 81.2 59.2 81.8 87.2 83.3 83.6 53.6 84.9 53.7 80.5 62.9 73.5',
         Here('dilation8_pascal_voc', (LARGE,), 'dilation8_pascal_voc')),
        ('Context + CRF', OURS,
         '91.3 39.9 88.9 64.3 69.8 88.9 82.6 89.7 34.7 82.7 59.5 83 88.4 84.2 85 55.3 86.7 54.4 81.9 63.6 74.7',
         Here('dilation8_pascal_voc', (LARGE,), 'dilation8_pascal_voc', crf=True)),
        ('Context + CRF-RNN', OURS,
         '91.7 39.6 87.8 63.1 71.8 89.7 82.9 89.8 37.2 84 63 83.3 89 83.8 85.1 56.8 87.6 56 80.2 64.7 75.3',
         Here('large_pascal_voc_crfrnn', ('voc-large-crfrnn',))),
    ),
    _table(5, 'CamVid', 'A.1', 'camvid', 'test',
        ('ALE', 'Ladicky et al., 2009',
         '73.4 70.2 91.1 64.2 24.4 91.1 29.1 31.0 13.6 72.4 28.6 53.6',
         f'{OTHER_PROGRAM}: a random field over hand-made features'),
        ('SuperParsing', 'Tighe & Lazebnik, 2013',
         '70.4 54.8 83.5 43.3 25.4 83.4 11.6 18.3 5.2 57.4 8.9 42.0',
         f'{OTHER_PROGRAM}: labels are taken over from similar images'),
        ('Liu and He', 'Liu & He, 2015',
         '66.8 66.6 90.1 62.9 21.4 85.8 28.0 17.8 8.3 63.5 8.5 47.2',
         f'{OTHER_PROGRAM}: a random field over the frames of a video'),
        ('SegNet', 'Badrinarayanan et al., 2015',
         '68.7 52.0 87.0 58.5 13.4 86.2 25.3 17.9 16.0 60.5 24.8 46.4',
         'needs unpooling to the places of the maxima, for which stock Caffe has no layer'),
        ('DeepLab-LFOV', CHEN,
         '81.5 74.6 89.0 82.2 42.3 92.2 48.4 27.2 14.3 75.4 50.1 61.6',
         Here('deeplab_largefov_camvid', ('camvid-deeplab-largefov',))),
        ('Dilation8', OURS,
         '82.6 76.2 89.9 84.0 46.9 92.2 56.3 35.8 23.4 75.3 55.5 65.3',
         Here('dilation8_camvid', ('camvid-joint',), 'dilation8_camvid')),
    ),
    _table(6, 'KITTI', 'A.2', 'kitti', 'test',
        ('Ros et al.', 'Ros et al., 2015',
         '71.8 69.5 84.4 51.2 4.2 72.4 1.7 32.4 2.6 45.3 3.2 39.9',
         f'{OTHER_PROGRAM}: labels are taken over from a labelled map of the place'),
        ('DeepLab-LFOV', CHEN,
         '82.8 78.6 82.4 78.0 28.8 91.3 0.0 39.4 29.9 72.4 12.9 54.2',
         Here('deeplab_largefov_kitti', ('kitti-deeplab-largefov',))),
        ('Dilation7', OURS,
         '84.6 81.1 83 81.4 41.8 92.9 4.6 47.1 35.2 73.1 26.4 59.2',
         Here('dilation7_kitti', ('kitti-joint',), 'dilation7_kitti')),
    ),
    _table(7, 'Cityscapes, classes', 'A.3', 'cityscapes', 'val',
        ('Dilation10 | val', OURS,
         '97.2 79.5 90.4 44.9 52.4 55.1 56.7 69 91 58.7 92.6 75.7 50 92.2 56.2 72.6 54.3 46.2 70.1 68.7',
         DILATION10),
        ('Dilation10 | test', OURS,
         '97.6 79.2 89.9 37.3 47.6 53.2 58.6 65.2 91.8 69.4 93.7 78.9 55 93.3 45.5 53.4 47.7 52.2 66 67.1',
         DILATION10),
    ),
    _table(8, 'Cityscapes, categories', 'A.3', 'cityscapes', 'val',
        ('Dilation10 | val', OURS,
         '98.2 91.4 62.3 92.6 90.7 77.6 91 86.3',
         DILATION10),
        ('Dilation10 | test', OURS,
         '98.3 91.4 60.5 93.7 90.2 79.8 91.8 86.5',
         DILATION10),
        columns=CATEGORIES,
    ),
)
# fmt: on

TABLE = {table.number: table for table in TABLES}


def paper_row(
    net: str, split: str, stage: str, weights: str = '', *, crf: bool = False, by_category: bool = False
) -> PaperRow | None:
    """The row of classes (or categories) for `net` with these weights on a split; None if the paper has none.

    `stage` trained the last weights, or `weights` is the row of pretrained.weights with the authors' file.
    """
    rows = (row for table in TABLES if table.by_category == by_category for row in table.rows if row.split == split)
    return next((row for row in rows if row.here and row.here.is_made_by(net, stage, weights, crf=crf)), None)
