"""The table: every network and every training stage, as plain data. Nothing heavy is imported here.

Networks: names, dilations and widths are those of the released models (fyu/dilation, models/*.prototxt); Caffe matches
weights to layers by name, so a name here is a name in a caffemodel. Stages: from the paper, or from where `source` says.
A special case is a field of a row, never an `if` on a name elsewhere.
"""

from dataclasses import dataclass, field

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
    pad: str = 'each_layer'  # or 'once': one zero pad at the first layer, then none, as in the released VOC model


@dataclass(frozen=True)
class Net:
    """A network: a front end, perhaps a context module on its scores, perhaps a fixed bilinear x8 upsampling."""

    dataset: str
    input_size_hw: tuple[int, int]
    context: Context | None = None
    front_end: FrontEnd = field(default_factory=FrontEnd)
    upsample: bool = False

    @property
    def layers(self) -> int:
        """Layers of the context module, the number in a name like dilation8; 0 without one."""
        return len(self.context.dilations) + 1 if self.context else 0


DILATION7 = (1, 1, 2, 4, 8, 1)
DILATION8 = (1, 1, 2, 4, 8, 16, 1)
DILATION10 = (1, 1, 2, 4, 8, 16, 32, 64, 1)

CAMVID_TILE, TOY_TILE = (900, 1100), (564, 948)
NARROW_FC = FrontEnd(fc=128)  # VGG-16's own trunk with a narrow fc6 and fc7: what a CPU can train
TOY = FrontEnd(trunk=(8, 16, 32, 48, 48), fc=96)

NETS = {
    # released models
    'dilation8_pascal_voc': Net(
        'pascal_voc', (900, 900), Context(DILATION8, LARGE, prefix='ct', pad='once'), FrontEnd(final='fc-final')
    ),
    'dilation8_camvid': Net('camvid', CAMVID_TILE, Context(DILATION8)),
    'dilation7_kitti': Net('kitti', (852, 1640), Context(DILATION7)),
    'dilation10_cityscapes': Net('cityscapes', (1396, 1396), Context(DILATION10), upsample=True),
    # front ends alone
    'front_camvid': Net('camvid', CAMVID_TILE),
    # CamVid within reach of a CPU: frozen trunk, narrow fc6 and fc7
    'front_camvid_fc128': Net('camvid', CAMVID_TILE, front_end=NARROW_FC),
    'dilation8_camvid_fc128': Net('camvid', CAMVID_TILE, Context(DILATION8), NARROW_FC),
    # the demonstration on drawn scenes
    'front_toy': Net('toy', TOY_TILE, front_end=TOY),
    'basic_toy': Net('toy', TOY_TILE, Context(DILATION8), TOY),
    'large_toy': Net('toy', TOY_TILE, Context(DILATION8, LARGE), TOY),
}


@dataclass(frozen=True)
class Stage:
    """One training run. A batch is `batch_per_pass * iter_size` images, as the solver sees it.

    `start` is the blob that the stage's LMDB holds beside the label: 'data' (images), 'conv5_3' (maps of a frozen trunk)
    or 'final' (scores of a trained front end); the layers from there to the net's end are trained.
    `init` names where weights come from, in order: a weights row, 'identity', or another stage (its newest snapshot).
    `fresh` names the layers that start from their fillers.
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
    iter_size: int = 1
    weight_decay: float = 0.0005
    lr_steps: tuple[int, ...] = ()  # iterations at which the learning rate is divided by ten
    snapshot: int = 2000
    features_from: str | None = None  # the stage whose weights made the maps, when `start` is not 'data'
    random_seed: int | None = None
    split: str | None = None  # the split that its LMDB is of; None: the data set's own `train`

    @property
    def batch_per_pass(self) -> int:
        """Images in one forward pass."""
        return self.batch_size // self.iter_size


PAPER_A1 = 'paper A, A.1'
RECIPE = 'this toolkit: what a CPU can finish'
DEMO = 'this toolkit: demonstration'
VGG_CONVOLUTIONS = tuple(f'conv{group}_{i}' for group, depth in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, depth + 1))
FROM_ZERO = (*VGG_CONVOLUTIONS, 'fc6', 'fc7', 'final')

STAGES = {
    'camvid-front': Stage(
        'front_camvid', 'data', init=('vgg16',), fresh=('final',),
        crop_size=628, batch_size=8, base_lr=1e-4, momentum=0.99, max_iter=20000, source=PAPER_A1,
    ),
    'camvid-joint': Stage(
        'dilation8_camvid', 'data', init=('camvid-front', 'identity'), fresh=(),
        crop_size=852, batch_size=1, base_lr=1e-5, momentum=0.9, max_iter=20000,
        source=PAPER_A1 + '; iterations not given, taken from the front end',
    ),
    'camvid-cpu-front': Stage(
        'front_camvid_fc128', 'conv5_3', init=(), fresh=('fc6', 'fc7', 'final'), features_from='vgg16',
        crop_size=None, batch_size=1, base_lr=1e-3, momentum=0.9, max_iter=2202, lr_steps=(1835,), snapshot=367,
        random_seed=1, source=RECIPE,
    ),
    'camvid-cpu-basic': Stage(
        'dilation8_camvid_fc128', 'final', init=('identity',), fresh=(), features_from='camvid-cpu-front',
        crop_size=None, batch_size=1, base_lr=1e-3, momentum=0.9, max_iter=9175, snapshot=1835, random_seed=1, source=RECIPE,
    ),
    'toy-front': Stage(
        'front_toy', 'data', init=(), fresh=FROM_ZERO,
        crop_size=564, batch_size=2, base_lr=1e-3, momentum=0.9, max_iter=250, lr_steps=(200,), snapshot=50,
        random_seed=1, source=DEMO,
    ),
    'toy-basic': Stage(
        'basic_toy', 'final', init=('identity',), fresh=(), features_from='toy-front',
        crop_size=None, batch_size=8, base_lr=1e-3, momentum=0.9, max_iter=1000, snapshot=500, random_seed=1, source=DEMO,
    ),
    'toy-large': Stage(
        'large_toy', 'final', init=('identity',), fresh=(), features_from='toy-front',
        crop_size=None, batch_size=2, base_lr=1e-3, momentum=0.9, max_iter=400, snapshot=200, random_seed=1, source=DEMO,
    ),
}  # fmt: skip
