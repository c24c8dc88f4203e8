"""The table: every network and every training stage, as plain data. Nothing heavy is imported here.

Networks: names, dilations and widths are those of the released models (fyu/dilation, models/*.prototxt); Caffe matches
weights to layers by name, so a name here is a name in a caffemodel. Stages: from the paper, or from where `source` says.
A special case is a field of a row, never an `if` on a name elsewhere.
"""

from dataclasses import dataclass, field, replace
from typing import TypeVar

Row = TypeVar('Row')

# Channels of each context layer as multiples of the number of classes C (paper Table 1); as long as a row's dilations plus one.
BASIC = (1,)
LARGE = (2, 2, 4, 8, 16, 32, 32, 1)


@dataclass(frozen=True)
class FrontEnd:
    """Widths of the front end (paper Sec. 4): the five groups of VGG-16's convolutions, and fc6 = fc7."""

    trunk: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)
    fc: int = 4096
    final: str = 'final'  # name of the scoring layer


@dataclass(frozen=True)
class Context:
    """A context module (paper Sec. 3): one 3x3 layer per dilation, then a 1x1 layer."""

    dilations: tuple[int, ...]
    multiples: tuple[int, ...] = BASIC
    prefix: str = 'ctx'
    pad: str = 'each_layer'  # zeros at each layer; 'once': all zeros at the first, as in the released VOC model; or 'reflect'


@dataclass(frozen=True)
class CrfRnn:
    """Mean-field iterations as layers (Zheng et al. 2015): deviations in pixels (alpha, gamma) and grey levels (beta)."""

    theta_alpha: float = 160
    theta_beta: float = 3
    theta_gamma: float = 3
    iterations_train: int = 5
    iterations_test: int = 10


@dataclass(frozen=True)
class Net:
    """A network: a front end, perhaps a context module on its scores, perhaps a fixed bilinear x8 upsampling or a CRF-RNN."""

    dataset: str
    input_size_hw: tuple[int, int]
    context: Context | None = None
    front_end: FrontEnd = field(default_factory=FrontEnd)
    upsample: bool = False
    crf_rnn: CrfRnn | None = None

    @property
    def pixels(self) -> bool:
        """Whether its probabilities are those of pixels, not of cells."""
        return self.upsample or self.crf_rnn is not None

    @property
    def layers(self) -> int:
        """Layers of the context module, the number in a name like dilation8; 0 without one."""
        return len(self.context.dilations) + 1 if self.context else 0


DILATION7 = (1, 1, 2, 4, 8, 1)
DILATION8 = (1, 1, 2, 4, 8, 16, 1)
DILATION10 = (1, 1, 2, 4, 8, 16, 32, 64, 1)

VOC_TILE, CAMVID_TILE, KITTI_TILE, CITYSCAPES_TILE, TOY_TILE = (900, 900), (900, 1100), (852, 1640), (1396, 1396), (564, 948)
# The released VOC model names its scores so; the other VOC networks follow it, and their weights fit together by name.
VOC_FRONT = FrontEnd(final='fc-final')
VOC_LARGE = Context(DILATION8, LARGE, prefix='ct', pad='once')
NARROW_FC = FrontEnd(fc=128)  # VGG-16's own trunk with a narrow fc6 and fc7: what a CPU can train
TOY = FrontEnd(trunk=(8, 16, 32, 48, 48), fc=96)


class Table(dict[str, Row]):
    """Rows by name; `NAME@DATASET` is the row NAME for a user's own data set (make lmdb-custom)."""

    def __missing__(self, name: str) -> Row:
        base, at, own = name.partition('@')
        if not at:
            raise KeyError(name)
        return self.adapted(self[base], own)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).partition('@')[0])

    def adapted(self, row: Row, own: str) -> Row:
        """The row for the data set `own`."""
        raise NotImplementedError


class NetTable(Table[Net]):
    """The networks."""

    def adapted(self, row: Net, own: str) -> Net:
        """The network with the classes of another data set."""
        return replace(row, dataset=own)


NETS = NetTable({
    # released models
    'dilation8_pascal_voc': Net('pascal_voc', VOC_TILE, VOC_LARGE, VOC_FRONT),
    'dilation8_camvid': Net('camvid', CAMVID_TILE, Context(DILATION8)),
    'dilation7_kitti': Net('kitti', KITTI_TILE, Context(DILATION7)),
    'dilation10_cityscapes': Net('cityscapes', CITYSCAPES_TILE, Context(DILATION10), upsample=True),
    # front ends alone
    'front_pascal_voc': Net('pascal_voc', VOC_TILE, front_end=VOC_FRONT),
    'front_camvid': Net('camvid', CAMVID_TILE),
    'front_kitti': Net('kitti', KITTI_TILE),
    'front_cityscapes': Net('cityscapes', CITYSCAPES_TILE),
    # the rest of the paper's Table 3, and Sec. 5's other padding of the context module
    'basic_pascal_voc': Net('pascal_voc', VOC_TILE, Context(DILATION8, pad='once'), VOC_FRONT),
    'basic_pascal_voc_reflect': Net('pascal_voc', VOC_TILE, Context(DILATION8, pad='reflect'), VOC_FRONT),
    'large_pascal_voc_reflect': Net('pascal_voc', VOC_TILE, Context(DILATION8, LARGE, prefix='ct', pad='reflect'), VOC_FRONT),
    # Basic as fyu/dilation's network.py has it, padded at each layer; the paper pads its input by 33
    'basic_pascal_voc_fyu': Net('pascal_voc', VOC_TILE, Context(DILATION8), VOC_FRONT),
    # Table 3, bottom: the three with CRF-RNN
    'voc-front-crfrnn': Net('pascal_voc', VOC_TILE, None, VOC_FRONT, crf_rnn=CrfRnn()),
    'voc-basic-crfrnn': Net('pascal_voc', VOC_TILE, Context(DILATION8, pad='once'), VOC_FRONT, crf_rnn=CrfRnn()),
    'voc-large-crfrnn': Net('pascal_voc', VOC_TILE, VOC_LARGE, VOC_FRONT, crf_rnn=CrfRnn()),
    # CamVid within reach of a CPU: frozen trunk, narrow fc6 and fc7
    'front_camvid_fc128': Net('camvid', CAMVID_TILE, front_end=NARROW_FC),
    'dilation8_camvid_fc128': Net('camvid', CAMVID_TILE, Context(DILATION8), NARROW_FC),
    # the demonstration on drawn scenes
    'front_toy': Net('toy', TOY_TILE, front_end=TOY),
    'basic_toy': Net('toy', TOY_TILE, Context(DILATION8), TOY),
    'large_toy': Net('toy', TOY_TILE, Context(DILATION8, LARGE), TOY),
})  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """One training run. A batch is `batch_per_pass * iter_size` images, as the solver sees it.

    `start` is the blob that the stage's LMDB holds beside the label: 'data' (images), 'conv5_3' (maps of a frozen trunk)
    or the front end's scores; the layers from there to the net's end are trained.
    `init` names where weights come from, in order: a weights row, 'identity', or another stage (its newest snapshot).
    `fresh` names the layers that start from their fillers.
    `mirror`: crops of images are mirrored at random; stored maps are made of each image and of its mirror image.
    `upsample_loss`: the scores are upsampled by 8 and compared with every pixel's label, not with every eighth
    (`--up` in fyu/dilation); a net that upsamples in deployment is always trained so.
    `assumed`: (field, where its value is from) for what the source does not give.
    """

    net: str
    start: str
    init: tuple[str, ...]
    fresh: tuple[str, ...]
    crop_size: int | None  # pixels; None: whole maps, all of one size
    batch_size: int
    base_lr: float
    momentum: float
    max_iter: int
    source: str
    assumed: tuple[tuple[str, str], ...] = ()
    iter_size: int = 1
    weight_decay: float = 0.0005
    lr_steps: tuple[int, ...] = ()  # iterations at which the learning rate is divided by ten
    snapshot: int = 2000
    features_from: str | None = None  # the stage whose weights made the maps, when `start` is not 'data'
    mirror: bool = True
    upsample_loss: bool = False
    random_seed: int | None = None
    split: str | None = None  # the split that its LMDB is of; None: the data set's own `train`

    @property
    def batch_per_pass(self) -> int:
        """Images in one forward pass."""
        return self.batch_size // self.iter_size

    @property
    def label_stride(self) -> int:
        """Pixels between the labels that the loss is taken at: 8, one a score cell, or 1 after upsampling."""
        return 1 if self.upsample_loss or NETS[self.net].pixels else 8


class StageTable(Table[Stage]):
    """The training stages."""

    def adapted(self, row: Stage, own: str) -> Stage:
        """The stage, and those that it starts from, on another data set."""
        init = tuple(f'{source}@{own}' if source in self else source for source in row.init)
        maker = row.features_from
        features_from = f'{maker}@{own}' if maker in self else maker
        return replace(row, net=f'{row.net}@{own}', init=init, features_from=features_from, split=None)

    def of(self, net_name: str) -> dict[str, Stage]:
        """The stages that train a network, by name."""
        base, at, own = net_name.partition('@')
        return {f'{name}{at}{own}': self[f'{name}{at}{own}'] for name, stage in self.items() if stage.net == base}


FYU = 'fyu/dilation'
RECIPE = 'this toolkit: what a CPU can finish'
DEMO = 'this toolkit: demonstration'
VGG_CONVOLUTIONS = tuple(f'conv{group}_{i}' for group, depth in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, depth + 1))
FROM_ZERO = (*VGG_CONVOLUTIONS, 'fc6', 'fc7', 'final')

# What the paper leaves open, and fyu/dilation has in docs/training.md or, where that is silent, in train.py.
CROP = ('crop', FYU)
BATCH = ('batch', FYU)
FYU_STEPS = (100_000, 200_000, 300_000)
ZHENG = 'Zheng et al. 2015, and their code'
CRFRNN_OPEN = (('crop', 'this toolkit'), ('iterations', 'this toolkit'))  # 884 leaves 512 pixels: a whole image of VOC
COCO_SPLIT, HALVES = 'train_aug_coco', 'train_halves'  # dataset_prep/{coco,cityscapes}.py

STAGES = StageTable({
    # PASCAL VOC 2012: Sec. 4 and 5
    'voc-front': Stage(
        'front_pascal_voc', 'data', init=('vgg16',), fresh=('fc-final',),
        crop_size=500, batch_size=14, base_lr=1e-3, momentum=0.9, max_iter=60_000, source='paper 4', assumed=(CROP,),
    ),
    'voc-front-fyu': Stage(
        'front_pascal_voc', 'data', init=('vgg16',), fresh=('fc-final',),
        crop_size=500, batch_size=14, base_lr=1e-4, momentum=0.9, max_iter=400_000, lr_steps=FYU_STEPS, source=FYU,
    ),
    'voc-coco-front': Stage(
        'front_pascal_voc', 'data', init=('vgg16',), fresh=('fc-final',), split=COCO_SPLIT,
        crop_size=500, batch_size=14, base_lr=1e-3, momentum=0.9, max_iter=140_000, lr_steps=(100_000,),
        source='paper 5, first stage', assumed=(CROP,),
    ),
    'voc-coco-front-finetune': Stage(
        'front_pascal_voc', 'data', init=('voc-coco-front',), fresh=(),
        crop_size=500, batch_size=14, base_lr=1e-5, momentum=0.9, max_iter=50_000,
        source='paper 5, second stage', assumed=(CROP,),
    ),
    'voc-context-basic': Stage(
        'basic_pascal_voc', 'fc-final', init=('identity',), fresh=(), features_from='voc-coco-front-finetune',
        crop_size=None, batch_size=60, base_lr=1e-3, momentum=0.9, max_iter=60_000,
        source='paper 5', assumed=(BATCH, ('momentum', 'paper 4'), ('iterations', 'voc-front')),
    ),
    'voc-context-basic-reflect': Stage(
        'basic_pascal_voc_reflect', 'fc-final', init=('identity',), fresh=(), features_from='voc-coco-front-finetune',
        crop_size=None, batch_size=60, base_lr=1e-3, momentum=0.9, max_iter=60_000,
        source='paper 5', assumed=(BATCH, ('momentum', 'paper 4'), ('iterations', 'voc-front')),
    ),
    'voc-context-basic-fyu': Stage(
        'basic_pascal_voc_fyu', 'fc-final', init=('identity',), fresh=(), features_from='voc-front-fyu',
        crop_size=None, batch_size=60, base_lr=1e-3, momentum=0.9, max_iter=400_000, lr_steps=FYU_STEPS, source=FYU,
    ),
    'voc-context-large': Stage(
        'dilation8_pascal_voc', 'fc-final', init=('identity',), fresh=(), features_from='voc-coco-front-finetune',
        crop_size=None, batch_size=60, base_lr=1e-3, momentum=0.9, max_iter=60_000,
        source='paper 5', assumed=(BATCH, ('momentum', 'paper 4'), ('iterations', 'voc-front')),
    ),
    'voc-context-large-reflect': Stage(
        'large_pascal_voc_reflect', 'fc-final', init=('identity',), fresh=(), features_from='voc-coco-front-finetune',
        crop_size=None, batch_size=60, base_lr=1e-3, momentum=0.9, max_iter=60_000,
        source='paper 5', assumed=(BATCH, ('momentum', 'paper 4'), ('iterations', 'voc-front')),
    ),
    'voc-basic-joint-fyu': Stage(
        'basic_pascal_voc_fyu', 'data', init=('voc-front-fyu', 'voc-context-basic-fyu'), fresh=(),
        crop_size=500, batch_size=14, base_lr=1e-5, momentum=0.9, max_iter=400_000, lr_steps=FYU_STEPS, source=FYU,
    ),
    'voc-large-joint-fyu': Stage(
        'dilation8_pascal_voc', 'data', init=('voc-coco-front-finetune', 'voc-context-large'), fresh=(),
        crop_size=500, batch_size=14, base_lr=1e-5, momentum=0.9, max_iter=400_000, lr_steps=FYU_STEPS,
        source=FYU + ', where it is for Basic',
    ),
    # CRF-RNN end to end on whole images. Zheng et al. have a rate of 1e-13 on the sum over pixels: 2.5e-8 on the mean of 500x500.
    'voc-front-crfrnn': Stage(
        'voc-front-crfrnn', 'data', init=('voc-coco-front-finetune',), fresh=('inference1',),
        crop_size=884, batch_size=1, base_lr=2.5e-8, momentum=0.99, max_iter=100_000, source=ZHENG, assumed=CRFRNN_OPEN,
    ),
    'voc-basic-crfrnn': Stage(
        'voc-basic-crfrnn', 'data', init=('voc-coco-front-finetune', 'voc-context-basic'), fresh=('inference1',),
        crop_size=884, batch_size=1, base_lr=2.5e-8, momentum=0.99, max_iter=100_000, source=ZHENG, assumed=CRFRNN_OPEN,
    ),
    'voc-large-crfrnn': Stage(
        'voc-large-crfrnn', 'data', init=('voc-coco-front-finetune', 'voc-context-large'), fresh=('inference1',),
        crop_size=884, batch_size=1, base_lr=2.5e-8, momentum=0.99, max_iter=100_000, source=ZHENG, assumed=CRFRNN_OPEN,
    ),
    # CamVid: A and A.1
    'camvid-front': Stage(
        'front_camvid', 'data', init=('vgg16',), fresh=('final',),
        crop_size=628, batch_size=8, base_lr=1e-4, momentum=0.99, max_iter=20_000, source='paper A, A.1',
    ),
    'camvid-joint': Stage(
        'dilation8_camvid', 'data', init=('camvid-front', 'identity'), fresh=(),
        crop_size=852, batch_size=1, base_lr=1e-5, momentum=0.9, max_iter=20_000,
        source='paper A, A.1', assumed=(('iterations', 'camvid-front'),),
    ),
    # KITTI: A and A.2
    'kitti-front': Stage(
        'front_kitti', 'data', init=('vgg16',), fresh=('final',),
        crop_size=628, batch_size=8, base_lr=1e-4, momentum=0.99, max_iter=10_000, source='paper A, A.2',
    ),
    'kitti-joint': Stage(
        'dilation7_kitti', 'data', init=('kitti-front', 'identity'), fresh=(),
        crop_size=900, batch_size=1, base_lr=1e-5, momentum=0.99, max_iter=20_000, source='paper A, A.2',
    ),
    # Cityscapes: A and A.3. The released network upsamples by 8, and was trained so (fyu/dilation, issue 18).
    'cityscapes-front': Stage(
        'front_cityscapes', 'data', init=('vgg16',), fresh=('final',),
        crop_size=628, batch_size=8, base_lr=1e-4, momentum=0.99, max_iter=40_000, source='paper A, A.3',
    ),
    'cityscapes-context': Stage(
        'dilation10_cityscapes', 'final', init=('identity',), fresh=(), features_from='cityscapes-front',
        crop_size=None, batch_size=100, iter_size=50, base_lr=1e-4, momentum=0.99, max_iter=24_000, source='paper A, A.3',
    ),
    'cityscapes-joint': Stage(
        'dilation10_cityscapes', 'data', init=('cityscapes-front', 'cityscapes-context'), fresh=(), split=HALVES,
        crop_size=1396, batch_size=1, base_lr=1e-5, momentum=0.99, max_iter=60_000, source='paper A, A.3',
    ),
    # CamVid within reach of a CPU
    'camvid-cpu-front': Stage(
        'front_camvid_fc128', 'conv5_3', init=(), fresh=('fc6', 'fc7', 'final'), features_from='vgg16', mirror=False,
        crop_size=None, batch_size=1, base_lr=1e-3, momentum=0.9, max_iter=2202, lr_steps=(1835,), snapshot=367,
        random_seed=1, source=RECIPE,
    ),
    'camvid-cpu-basic': Stage(
        'dilation8_camvid_fc128', 'final', init=('identity',), fresh=(), features_from='camvid-cpu-front', mirror=False,
        crop_size=None, batch_size=1, base_lr=1e-3, momentum=0.9, max_iter=9175, snapshot=1835, random_seed=1, source=RECIPE,
    ),
    # the demonstration
    'toy-front': Stage(
        'front_toy', 'data', init=(), fresh=FROM_ZERO,
        crop_size=564, batch_size=2, base_lr=1e-3, momentum=0.9, max_iter=250, lr_steps=(200,), snapshot=50,
        random_seed=1, source=DEMO,
    ),
    'toy-basic': Stage(
        'basic_toy', 'final', init=('identity',), fresh=(), features_from='toy-front', mirror=False,
        crop_size=None, batch_size=8, base_lr=1e-3, momentum=0.9, max_iter=1000, snapshot=500, random_seed=1, source=DEMO,
    ),
    'toy-large': Stage(
        'large_toy', 'final', init=('identity',), fresh=(), features_from='toy-front', mirror=False,
        crop_size=None, batch_size=2, base_lr=1e-3, momentum=0.9, max_iter=400, snapshot=200, random_seed=1, source=DEMO,
    ),
})  # fmt: skip
