"""Two tables of plain data: every network (NETS) and every training stage (STAGES). This module imports nothing heavy.

Networks have the layer names, dilations and widths of the released models (fyu/dilation, models/*.prototxt). Caffe matches
weights to layers by name, so a layer name here is a layer name in a caffemodel. Each stage names its `source`: the paper, or
other code. A special case is a field of a row, never an `if` on a name elsewhere.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

Row = TypeVar('Row')

VGG16 = (64, 128, 256, 512, 512)  # channels of its five groups of convolutions
# Channels of each context layer, as multiples of the number of classes C (paper Table 1). One multiple serves all layers.
BASIC = (1,)
LARGE = (2, 2, 4, 8, 16, 32, 32, 1)


@dataclass(frozen=True)
class FrontEnd:
    """The front end (paper Sec. 4).

    `trunk`: channels of VGG-16's five groups of convolutions. `fc`: channels of fc6 and of fc7. `final`: name of the scoring
    layer. `pooling` brings back pool4 and pool5 at stride 1; `padding` brings back the zeros around each layer's input. The
    paper takes both out. `fc_std`: standard deviations of random weights in fc6 and fc7; None means the msra filler.
    """

    trunk: tuple[int, int, int, int, int] = VGG16
    fc: int = 4096
    final: str = 'final'
    pooling: bool = False
    padding: bool = False
    fc_std: tuple[float, float] | None = None
    pixels: ClassVar[bool] = False
    aligned: ClassVar[bool] = False


@dataclass(frozen=True)
class Fcn:
    """FCN-32s, FCN-16s and FCN-8s (Long et al. 2015): VGG-16 at stride 32.

    `skips`: the groups whose pooling is scored too. `scales`: one factor for each skip; its map is multiplied by it before it is
    scored, in a network that is trained in one stage instead of three. `renamed`: pairs (our layer name, the name in the
    authors' caffemodel) where the two differ. `learned`: all upsamplings but the last are trained, and the first has a bias;
    otherwise they stay bilinear.
    """

    skips: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    learned: bool = False
    trunk: tuple[int, int, int, int, int] = VGG16
    fc: int = 4096
    final: str = 'score_fr'
    pixels: ClassVar[bool] = True  # it scores pixels, not cells
    aligned: ClassVar[bool] = False


@dataclass(frozen=True)
class DeepLab:
    """DeepLab (Chen et al. 2015): the plain network of the paper's Table 2, or with `large_fov` that of Tables 5 and 6.

    `multi_scale`: the MSc form, which also scores the image and four poolings. `final_rate`: the scoring layer learns this many
    times as fast as the layers before it. `fc_std`: see FrontEnd.
    """

    final: str
    large_fov: bool = False
    multi_scale: bool = False
    final_rate: int = 10
    trunk: tuple[int, int, int, int, int] = VGG16
    fc: int = 4096
    fc_std: tuple[float, float] | None = None
    pixels: ClassVar[bool] = False
    aligned: ClassVar[bool] = True  # upsampling turns n score cells into 8 (n - 1) + 1 pixels, with corners on corners

    @property
    def vgg_pools(self) -> bool:
        """Whether its poolings are 2x2, as in VGG-16. The other forms have 3x3 poolings, which keep corners aligned."""
        return not (self.large_fov or self.multi_scale)


@dataclass(frozen=True)
class Whole:
    """How a whole image becomes the input: it is extended at its bottom and right until each side has `step` n + `plus` pixels.

    `border`: 'mean' (the net sees zeros) or 'reflect'. `fill`: extend at least to the input size of the row. `first_label`: in
    training, the first score cell takes the label of this pixel, along both axes; the next cells take every eighth pixel.
    """

    step: int = 1
    plus: int = 0
    border: str = 'mean'
    fill: bool = False
    first_label: int = 0

    def below(self, side: int) -> int:
        """The largest side that fits and is at most `side`."""
        return (side - self.plus) // self.step * self.step + self.plus

    def above(self, side: int) -> int:
        """The smallest side that fits and is at least `side`."""
        return -((self.plus - side) // self.step) * self.step + self.plus


@dataclass(frozen=True)
class Context:
    """A context module (paper Sec. 3): one 3x3 layer per dilation, then a 1x1 layer.

    `multiples`: BASIC, or one for each layer, the 1x1 layer included. `prefix`: what its layer names begin with. `pad`: zeros
    around the input of each layer ('each_layer'), all zeros at the first layer as in the released VOC model ('once'), or
    'reflect'.
    """

    dilations: tuple[int, ...]
    multiples: tuple[int, ...] = BASIC
    prefix: str = 'ctx'
    pad: str = 'each_layer'


@dataclass(frozen=True)
class CrfRnn:
    """Mean-field iterations as layers (Zheng et al. 2015). Alpha and gamma are in pixels, beta in grey levels."""

    theta_alpha: float = 160
    theta_beta: float = 3
    theta_gamma: float = 3
    iterations_train: int = 5
    iterations_test: int = 10


@dataclass(frozen=True)
class Net:
    """A network: a front end, an optional context module on its scores, and an optional x8 upsampling or CRF-RNN.

    A network that the paper compares with (FCN, DeepLab) stands in place of the front end. Images are cut into tiles of
    `input_size_hw` pixels with a reflected margin, or go in `whole`. `mean_bgr` is subtracted; None means the mean of the data
    set. `images_wh`: the images are scaled to this size first; None means the usual size of the data set.
    """

    dataset: str
    input_size_hw: tuple[int, int]
    context: Context | None = None
    front_end: FrontEnd | Fcn | DeepLab = field(default_factory=FrontEnd)
    upsample: bool = False
    crf_rnn: CrfRnn | None = None
    whole: Whole | None = None
    mean_bgr: tuple[float, float, float] | None = None
    images_wh: tuple[int, int] | None = None

    @property
    def folder(self) -> str:
        """The folder of its data in data/: camvid, camvid-320x240."""
        return self.dataset + ('-{}x{}'.format(*self.images_wh) if self.images_wh else '')

    @property
    def pixels(self) -> bool:
        """Whether it gives probabilities for pixels, not for cells of 8x8 pixels."""
        return self.upsample or self.crf_rnn is not None or self.front_end.pixels

    @property
    def pixel_loss(self) -> bool:
        """Whether it is always trained on the label of every pixel. DeepLab is not: it upsamples in deployment only."""
        return self.pixels and not self.front_end.aligned

    @property
    def python_layers(self) -> bool:
        """Whether some of its layers are in Python. Caffe trains such a net on one GPU at most."""
        return self.crf_rnn is not None or (self.context is not None and self.context.pad == 'reflect')

    @property
    def layers(self) -> int:
        """Layers of the context module, as in the name dilation8; 0 if there is none."""
        return len(self.context.dilations) + 1 if self.context else 0


# Of the 3x3 layers; the name counts the 1x1 layer too.
DILATION7 = (1, 1, 2, 4, 8, 1)
DILATION8 = (1, 1, 2, 4, 8, 16, 1)
DILATION10 = (1, 1, 2, 4, 8, 16, 32, 64, 1)

VOC_TILE, CAMVID_TILE, KITTI_TILE, CITYSCAPES_TILE, TOY_TILE = (900, 900), (900, 1100), (852, 1640), (1396, 1396), (564, 756)
# The released VOC model calls its scores fc-final. The other VOC networks do too, so their weights fit together by name.
VOC_FRONT = FrontEnd(final='fc-final')
VOC_LARGE = Context(DILATION8, LARGE, prefix='ct', pad='once')
NARROW_FC = FrontEnd(fc=128)  # VGG-16's trunk with narrow fc6 and fc7: what a CPU can train
# What a CPU can train in a night, together with half of the trunk. The deviations are a third of msra's: with msra, the scoring
# layer gets large inputs and allows only a small learning rate.
NIGHT_FC = FrontEnd(fc=512, fc_std=(0.003, 0.02))
TOY = FrontEnd(trunk=(8, 16, 32, 48, 48), fc=96, fc_std=(0.01, 0.05))

# The networks that the paper compares with. They take images of these sizes: VOC, CamVid at 640x480, KITTI, Cityscapes.
FCN_MEAN = (104.00699, 116.66877, 122.67892)  # shelhamer/fcn.berkeleyvision.org, voc-fcn8s/net.py
DEEPLAB_MEAN = (104.008, 116.669, 122.675)  # martinkersner/train-DeepLab, train.prototxt of DeepLab-LargeFOV
WHOLE, WHOLE_STRIDE_8 = Whole(), Whole(8, 0, 'reflect')
DEEPLAB_WHOLE = Whole(8, 2, fill=True, first_label=1)
CORNERS_WHOLE = Whole(8, 1, fill=True)  # for the forms with 3x3 poolings: corners on corners
IMAGES = {'pascal_voc': (500, 500), 'camvid': (480, 640), 'kitti': (376, 1241), 'cityscapes': (1024, 2048)}
SMALL_WH = (320, 240)  # at 480x360 the seven networks of Table 2 in miniature would take a CPU of two cores two hours
AT_ONCE = (0.01, 0.0001)  # shelhamer/fcn.berkeleyvision.org, voc-fcn8s-atonce/net.py
# Zheng et al.'s CRF-RNN ends FCN-8s: martinkersner/train-CRF-RNN, TVG_CRFRNN_COCO_VOC_*.prototxt, and sadeepj/crfasrnn_keras.
CRFRNN_FCN = Fcn(
    (4, 3), final='score-fr', learned=True,
    renamed=(
        ('upscore2', 'score2'), ('score_pool4', 'score-pool4'), ('upscore_pool4', 'score4'), ('score_pool3', 'score-pool3'),
        ('upscore8', 'upsample'),
    ),
)  # fmt: skip
CRFRNN_MEAN = (103.939, 116.779, 123.68)  # VGG-16's; sadeepj/crfasrnn_keras
DEEPLAB_IMAGES = IMAGES | {'pascal_voc': (512, 512)}  # DeepLab extends these to 514x514 or 513x513


def fcn(data: str, network: Fcn) -> Net:
    """FCN, which takes an image as it is."""
    return Net(data, IMAGES[data], front_end=network, whole=WHOLE, mean_bgr=FCN_MEAN)


def deeplab(data: str, network: DeepLab) -> Net:
    """DeepLab, which takes an image that is extended by the mean: on VOC to 514x514 or 513x513."""
    whole = DEEPLAB_WHOLE if network.vgg_pools else CORNERS_WHOLE
    height, width = (whole.above(side) for side in DEEPLAB_IMAGES[data])
    return Net(data, (height, width), front_end=network, upsample=True, whole=whole, mean_bgr=DEEPLAB_MEAN)


def large_fov(final: str, *, multi_scale: bool = False, final_rate: int = 10) -> DeepLab:
    """DeepLab-LargeFOV: fc6 and fc7 have fewer channels, and fc6 has a larger dilation."""
    return DeepLab(final, True, multi_scale, final_rate, fc=1024)


def brought_back(
    data: str, tile_hw: tuple[int, int], front_end: FrontEnd, *, pooling: bool = False, padding: bool = False
) -> Net:
    """A front end with pooling or padding brought back. With padding, an image needs no margin and goes in whole."""
    front_end = replace(front_end, pooling=pooling, padding=padding)
    if not padding:
        return Net(data, tile_hw, front_end=front_end)
    height, width = IMAGES[data]
    size_hw = WHOLE_STRIDE_8.above(height), WHOLE_STRIDE_8.above(width)
    return Net(data, size_hw, front_end=front_end, whole=WHOLE_STRIDE_8)


def small(row: Net) -> Net:
    """A CamVid network for images of 320x240, with narrow fc6 and fc7. Its tile holds a whole image."""
    height, width = (row.whole.above(side) if row.whole else side + 372 for side in SMALL_WH[::-1])
    front_end = replace(row.front_end, fc=NARROW_FC.fc)
    return replace(row, input_size_hw=(height, width), front_end=front_end, images_wh=SMALL_WH)


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
        return replace(row, dataset=own, images_wh=None)


# The networks of the paper's tables. Their files are checked in.
PAPER_NETS = {
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
    # the rest of Table 3, and the reflection padding of Sec. 5
    'basic_pascal_voc': Net('pascal_voc', VOC_TILE, Context(DILATION8, pad='once'), VOC_FRONT),
    'basic_pascal_voc_reflect': Net('pascal_voc', VOC_TILE, Context(DILATION8, pad='reflect'), VOC_FRONT),
    'large_pascal_voc_reflect': Net('pascal_voc', VOC_TILE, Context(DILATION8, LARGE, prefix='ct', pad='reflect'), VOC_FRONT),
    # Basic as in fyu/dilation, network.py: padded at each layer. The paper pads the input of the module by 33.
    'basic_pascal_voc_fyu': Net('pascal_voc', VOC_TILE, Context(DILATION8), VOC_FRONT),
    # Table 3, bottom: the three with CRF-RNN
    'front_pascal_voc_crfrnn': Net('pascal_voc', VOC_TILE, None, VOC_FRONT, crf_rnn=CrfRnn()),
    'basic_pascal_voc_crfrnn': Net('pascal_voc', VOC_TILE, Context(DILATION8, pad='once'), VOC_FRONT, crf_rnn=CrfRnn()),
    'large_pascal_voc_crfrnn': Net('pascal_voc', VOC_TILE, VOC_LARGE, VOC_FRONT, crf_rnn=CrfRnn()),
    # Table 2: the networks that the front end is compared with, as their authors released them
    'fcn32s_pascal_voc': fcn('pascal_voc', Fcn()),
    'fcn16s_pascal_voc': fcn('pascal_voc', Fcn((4,))),
    'fcn8s_pascal_voc': fcn('pascal_voc', Fcn((4, 3))),
    'deeplab_pascal_voc': deeplab('pascal_voc', DeepLab('fc8_pascal')),
    'deeplab_msc_pascal_voc': deeplab('pascal_voc', DeepLab('fc8_pascal', multi_scale=True, final_rate=1)),
    # Tables 5 and 6 (LargeFOV), and Table 4 (both, with COCO)
    'deeplab_largefov_pascal_voc': deeplab('pascal_voc', large_fov('fc8_voc12')),
    'deeplab_largefov_camvid': deeplab('camvid', large_fov('fc8_camvid')),
    'deeplab_largefov_kitti': deeplab('kitti', large_fov('fc8_kitti')),
    'deeplab_msc_largefov_pascal_voc': deeplab('pascal_voc', large_fov('fc8_voc12', multi_scale=True)),
    # Table 4's CRF-RNN, as its authors released it. Images of up to 500 pixels are extended to 500.
    'fcn8s_pascal_voc_crfrnn': Net(
        'pascal_voc', (500, 500), front_end=CRFRNN_FCN, crf_rnn=CrfRnn(), whole=Whole(fill=True), mean_bgr=CRFRNN_MEAN,
    ),
}  # fmt: skip
# Networks beyond the paper's tables. `make prototxt NET=NAME` writes their files.
MORE_NETS = {
    # the compared networks on data where the paper has none of them
    'fcn32s_camvid': fcn('camvid', Fcn()),
    'fcn32s_cityscapes': fcn('cityscapes', Fcn()),
    'fcn16s_camvid': fcn('camvid', Fcn((4,))),
    'fcn16s_cityscapes': fcn('cityscapes', Fcn((4,))),
    'fcn8s_camvid': fcn('camvid', Fcn((4, 3))),
    'fcn8s_cityscapes': fcn('cityscapes', Fcn((4, 3))),
    'deeplab_largefov_cityscapes': deeplab('cityscapes', large_fov('fc8_cityscapes')),
    'deeplab_msc_largefov_camvid': deeplab('camvid', large_fov('fc8_camvid', multi_scale=True)),
    'deeplab_msc_largefov_cityscapes': deeplab('cityscapes', large_fov('fc8_cityscapes', multi_scale=True)),
    # FCN-8s trained in one stage, as its authors released it
    'fcn8s_pascal_voc_at_once': fcn('pascal_voc', Fcn((4, 3), AT_ONCE)),
    # Sec. 4: the front end with pooling, padding or both brought back
    'front_pascal_voc_pooling': brought_back('pascal_voc', VOC_TILE, VOC_FRONT, pooling=True),
    'front_pascal_voc_padding': brought_back('pascal_voc', VOC_TILE, VOC_FRONT, padding=True),
    'front_pascal_voc_pooling_padding': brought_back('pascal_voc', VOC_TILE, VOC_FRONT, pooling=True, padding=True),
    'front_camvid_pooling': brought_back('camvid', CAMVID_TILE, FrontEnd(), pooling=True),
    'front_camvid_padding': brought_back('camvid', CAMVID_TILE, FrontEnd(), padding=True),
    'front_camvid_pooling_padding': brought_back('camvid', CAMVID_TILE, FrontEnd(), pooling=True, padding=True),
    # CamVid on a CPU: frozen trunk, narrow fc6 and fc7
    'front_camvid_fc128': Net('camvid', CAMVID_TILE, front_end=NARROW_FC),
    'dilation8_camvid_fc128': Net('camvid', CAMVID_TILE, Context(DILATION8), NARROW_FC),
    'large_camvid_fc128': Net('camvid', CAMVID_TILE, Context(DILATION8, LARGE), NARROW_FC),
    'front_camvid_fc128_crfrnn': Net('camvid', CAMVID_TILE, None, NARROW_FC, crf_rnn=CrfRnn()),
    'basic_camvid_fc128_crfrnn': Net('camvid', CAMVID_TILE, Context(DILATION8), NARROW_FC, crf_rnn=CrfRnn()),
    'large_camvid_fc128_crfrnn': Net('camvid', CAMVID_TILE, Context(DILATION8, LARGE), NARROW_FC, crf_rnn=CrfRnn()),
    # Table 5 in a night of a CPU, on CamVid at 480x360
    'front_camvid_fc512': Net('camvid', CAMVID_TILE, front_end=NIGHT_FC),
    'dilation8_camvid_fc512': Net('camvid', CAMVID_TILE, Context(DILATION8), NIGHT_FC),
    'deeplab_largefov_camvid_480x360': replace(
        deeplab('camvid', replace(large_fov('fc8_camvid', final_rate=1), fc_std=(0.007, 0.015))), input_size_hw=(361, 481)
    ),
    # Table 2 and Sec. 4's ablation in miniature, on CamVid
    'fcn8s_camvid_small': small(fcn('camvid', Fcn((4, 3), AT_ONCE))),
    'deeplab_camvid_small': small(deeplab('camvid', DeepLab('fc8_camvid', final_rate=1))),
    'deeplab_msc_camvid_small': small(deeplab('camvid', DeepLab('fc8_camvid', multi_scale=True, final_rate=1))),
    'front_camvid_small': small(Net('camvid', CAMVID_TILE)),
    'front_camvid_pooling_small': small(brought_back('camvid', CAMVID_TILE, FrontEnd(), pooling=True)),
    'front_camvid_padding_small': small(brought_back('camvid', CAMVID_TILE, FrontEnd(), padding=True)),
    'front_camvid_pooling_padding_small': small(brought_back('camvid', CAMVID_TILE, FrontEnd(), pooling=True, padding=True)),
    # the demonstration on drawn scenes
    'front_toy': Net('toy', TOY_TILE, front_end=TOY),
    'basic_toy': Net('toy', TOY_TILE, Context(DILATION8), TOY),
    'large_toy': Net('toy', TOY_TILE, Context(DILATION8, LARGE), TOY),
}  # fmt: skip
NETS = NetTable(PAPER_NETS | MORE_NETS)


@dataclass(frozen=True)
class Stage:
    """One training run. `batch_size` counts the images of one solver step: `batch_per_pass * iter_size`.

    `start`: the blob that the LMDB holds beside the label: 'data' (images), 'conv5_3' (maps of a frozen trunk) or the scores of
    the front end. The stage trains the layers from there to the end of the net.
    `init`: where weights come from, in order: a row of pretrained.weights, 'identity', or a stage (its newest snapshot).
    `fresh`: layers that start from their fillers. `frozen`: layers that are not trained.
    `mirror`: crops of images are mirrored at random; stored maps come from each image and from its mirror image.
    `upsample_loss`: the scores are upsampled by 8 and compared with the label of every pixel, not of every eighth (`--up` in
    fyu/dilation). A net that upsamples in deployment is always trained like this.
    `assumed`: pairs (field, where its value comes from) for fields that the source leaves open.
    """

    net: str
    start: str
    init: tuple[str, ...]
    fresh: tuple[str, ...]
    crop_size: int | None  # pixels; None for whole maps, which all have one size
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
    features_from: str | None = None  # the stage whose weights made the stored maps; None if `start` is 'data'
    mirror: bool = True
    upsample_loss: bool = False
    random_seed: int | None = None
    split: str | None = None  # the split in its LMDB; None for the training split of the data set
    frozen: tuple[str, ...] = ()
    solver: str = 'SGD'  # Caffe's name of the solver; for Adam `momentum` is beta 1, and beta 2 is 0.999
    normalization: str = 'VALID'  # of the loss: 'VALID' is the mean over pixels with a label, 'NONE' the sum

    @property
    def batch_per_pass(self) -> int:
        """Images in one forward pass."""
        return self.batch_size // self.iter_size

    @property
    def label_stride(self) -> int:
        """Pixels between the labels that the loss uses: 8 (one label per score cell), or 1 after upsampling."""
        return 1 if self.upsample_loss or NETS[self.net].pixel_loss else 8

    @property
    def beside_images(self) -> bool:
        """Whether it reads images and labels beside its stored maps, as CRF-RNN needs them."""
        return self.start != 'data' and NETS[self.net].crf_rnn is not None

    @property
    def stored_label_stride(self) -> int:
        """Pixels between the labels in its LMDB."""
        return 8 if self.beside_images else self.label_stride


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
NIGHT = 'this toolkit: what a CPU can finish in a night'
DEMO = 'this toolkit: demonstration'
VGG_CONVOLUTIONS = tuple(f'conv{group}_{i}' for group, depth in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, depth + 1))
FROM_ZERO = (*VGG_CONVOLUTIONS, 'fc6', 'fc7', 'final')

# The paper leaves these open. The values come from fyu/dilation: docs/training.md first, then train.py and network.py. Weight
# decay is 0.0005, images are mirrored, biases learn at twice the rate and without decay, the scoring layer starts from
# N(0, 0.001), and N(0, 0.01) is added to the identity of eq. 4. That code has no Large; eq. 5 only says that its noise is small
# (pretrained/identity.py).
CROP = ('crop', FYU)
BATCH = ('batch', FYU)
SILENT = (('weight decay', FYU), ('mirroring', FYU), ('bias rates', FYU))
FILLER, BASIC_NOISE = ('final filler', FYU), ("Basic's noise", FYU)
LARGE_NOISE = ("Large's noise", 'extrapolated by this toolkit')
FYU_STEPS = (100_000, 200_000, 300_000)
ZHENG = 'Zheng et al. 2015, and their code'
CRFRNN_OPEN = tuple(
    (field, 'this toolkit') for field in ('crop', 'iterations', 'mirroring')
)  # 884 leaves 512 pixels: a whole image of VOC
COCO_SPLIT, HALVES = 'train_aug_coco', 'train_halves'  # dataset_prep/{coco,cityscapes}.py

# Crops for the compared networks, each plus the margin of 372 pixels that the LMDBs hold. FCN: 512 on VOC, 480 on CamVid, 1024 on
# halves of Cityscapes, so that a crop is as large as an image. DeepLab: 306 = 8 (39 - 1) + 2 pixels, cut from 312; its other
# forms 321 = 8 (41 - 1) + 1, cut from 328.
FCN_CODE, LARGEFOV_CODE = 'shelhamer/fcn.berkeleyvision.org', 'DeepLab-LargeFOV solver.prototxt, train.prototxt'
DEEPLAB_CODE, MSC_CODE, MSC_LARGEFOV_CODE, COCO_CODE, MSC_COCO_CODE = (
    f'TheLegendAli/DeepLab-Context, config/DeepLab{form}'
    for form in ('', '-MSc', '-MSc-LargeFOV', '-COCO-LargeFOV', '-MSc-COCO-LargeFOV')
)
FCN_CROPS = {'pascal_voc': 884, 'camvid': 852, 'cityscapes': 1396}
FCN_RATES = {'fcn32s': 1e-10, 'fcn16s': 1e-12, 'fcn8s': 1e-14}  # for a loss that is the sum over the pixels
DEEPLAB_CROP, ALIGNED_CROP = 372 + 312, 372 + 328
BRANCHES = ('data', 'pool1', 'pool2', 'pool3', 'pool4')  # blobs that DeepLab-MSc scores beside fc7
BRANCH_LAYERS = tuple(f'{branch}_{layer}' for branch in BRANCHES for layer in ('conv', 'fc', 'ms'))


def of_data(stage: Stage) -> Stage:
    """The stage with a note, on data other than VOC, that its authors give crop and iterations for VOC only."""
    if NETS[stage.net].dataset == 'pascal_voc':
        return stage
    assumed = dict(stage.assumed) | {'crop': 'this toolkit', 'iterations': 'VOC'}
    return replace(stage, source=f'{stage.source}, for VOC', assumed=tuple(assumed.items()))


def fcn_stage(net: str, start: str, fresh: str) -> Stage:
    """FCN on whole images, one per step. Fresh layers start at zero."""
    data = NETS[net].dataset
    return of_data(Stage(
        net, 'data', init=(start, 'bilinear'), fresh=(fresh,), split=HALVES if data == 'cityscapes' else None,
        crop_size=FCN_CROPS[data], batch_size=1, base_lr=FCN_RATES[net.partition('_')[0]], momentum=0.99, max_iter=100_000,
        mirror=False, normalization='NONE', snapshot=4000, source=FCN_CODE,
    ))  # fmt: skip


def deeplab_stage(net: str, init: str, batch_size: int, source: str) -> Stage:
    """DeepLab from VGG-16 with a smaller fc6, with its authors' settings for VOC."""
    crop_size = DEEPLAB_CROP if NETS[net].whole == DEEPLAB_WHOLE else ALIGNED_CROP
    return of_data(Stage(
        net, 'data', init=(init,), fresh=(NETS[net].front_end.final,), crop_size=crop_size, batch_size=batch_size,
        base_lr=1e-3, momentum=0.9, max_iter=6000, lr_steps=(2000, 4000), source=source,
    ))  # fmt: skip


def msc_stage(net: str, init: str, batch_size: int, source: str, *more_frozen: str) -> Stage:
    """Trains the layers that DeepLab-MSc adds to a trained DeepLab. `more_frozen`: further layers that are not trained."""
    frozen = (*VGG_CONVOLUTIONS, 'fc6', 'fc7', *more_frozen)
    return replace(deeplab_stage(net, init, batch_size, source), fresh=BRANCH_LAYERS, frozen=frozen)


def largefov_stage(net: str) -> Stage:
    """DeepLab-LargeFOV on any data."""
    return deeplab_stage(net, 'vgg16_20M', 30, LARGEFOV_CODE)


def msc_largefov_stage(net: str, init: str) -> Stage:
    """DeepLab-MSc-LargeFOV on any data."""
    return msc_stage(net, init, 30, MSC_LARGEFOV_CODE, NETS[net].front_end.final)


def after_coco(stage: Stage, source: str, *more_open: str) -> Stage:
    """A LargeFOV stage that goes on from a training on COCO. Only the solver of `source` was found; the rest is assumed."""
    return replace(stage, source=source, assumed=tuple((field, stage.source) for field in ('crop', 'batch', *more_open)))


def ablation_stage(net: str, front: Stage) -> Stage:
    """Trained like the front end of the data set, on the same crops."""
    return replace(front, net=net, source=f'{front.source}, of its front end')


def voc_context(net: str) -> Stage:
    """A context module on stored scores of the VOC front end."""
    context = NETS[net].context
    noise = BASIC_NOISE if context and context.multiples == BASIC else LARGE_NOISE
    return Stage(
        net, 'fc-final', init=('identity',), fresh=(), features_from='voc-coco-front-finetune',
        crop_size=None, batch_size=60, base_lr=1e-3, momentum=0.9, max_iter=60_000,
        source='paper 5', assumed=(BATCH, ('momentum', 'paper 4'), ('iterations', 'voc-front'), noise, *SILENT),
    )  # fmt: skip


def crfrnn(net: str, start: str, init: tuple[str, ...], **fields: Any) -> Stage:
    """CRF-RNN with the solver of Zheng et al.: one image per step, and a loss that is the sum over its pixels.

    The sum matters. A mean would need a rate 250,000 times as large, and the rate multiplies the weight decay too.
    """
    return Stage(
        net, start, init=init, fresh=('inference1',), batch_size=1, base_lr=1e-13, momentum=0.99, weight_decay=0.0005,
        normalization='NONE', **fields,
    )  # fmt: skip


def voc_crfrnn(net: str, *init: str) -> Stage:
    """End to end on whole images."""
    return crfrnn(net, 'data', init, crop_size=884, max_iter=100_000, source=ZHENG, assumed=CRFRNN_OPEN)


def camvid_crfrnn(net: str, *init: str) -> Stage:
    """CRF-RNN, with the context module below it, on stored scores of the front end and the images; one pass over them."""
    return crfrnn(
        net, 'final', init, features_from='camvid-cpu-front', mirror=False, crop_size=None, max_iter=367, snapshot=367,
        random_seed=1, source=RECIPE, assumed=(('loss, rate, momentum and decay', ZHENG),),
    )  # fmt: skip


def small_stage(net: str, *more: str, init: tuple[str, ...] = ()) -> Stage:
    """One pass over the training images for the layers after VGG-16's frozen convolutions: fc6, fc7, the scores and `more`.

    All networks of the miniature have these settings. Each image gives a square crop of its full height.
    """
    return Stage(
        net, 'data', init=('vgg16-trunk', *init), fresh=('fc6', 'fc7', NETS[net].front_end.final, *more), frozen=VGG_CONVOLUTIONS,
        crop_size=372 + SMALL_WH[1], batch_size=1, base_lr=1e-3, momentum=0.9, max_iter=367, lr_steps=(300,), snapshot=60,
        random_seed=1, source=RECIPE,
    )  # fmt: skip


VOC_FRONT_STAGE = Stage(
    'front_pascal_voc', 'data', init=('vgg16',), fresh=('fc-final',),
    crop_size=500, batch_size=14, base_lr=1e-3, momentum=0.9, max_iter=60_000, source='paper 4',
    assumed=(CROP, FILLER, *SILENT),
)  # fmt: skip
CAMVID_FRONT_STAGE = Stage(
    'front_camvid', 'data', init=('vgg16',), fresh=('final',),
    crop_size=628, batch_size=8, base_lr=1e-4, momentum=0.99, max_iter=20_000, source='paper A, A.1', assumed=(FILLER, *SILENT),
)  # fmt: skip
NIGHT_FROZEN = VGG_CONVOLUTIONS[:7]  # up to conv3_3
NIGHT_FRONT = Stage(
    'front_camvid_fc512', 'pool3', init=('vgg16-trunk',), fresh=('fc6', 'fc7', 'final'), features_from='vgg16',
    crop_size=None, batch_size=1, base_lr=2e-3, momentum=0.9, max_iter=4000, lr_steps=(3200,), snapshot=50,
    random_seed=1, source=NIGHT,
)  # fmt: skip
# Basic and Large train alike in the demonstration, so that only the module differs.
TOY_CONTEXT = Stage(
    'basic_toy', 'final', init=('identity',), fresh=(), features_from='toy-front', mirror=False,
    crop_size=None, batch_size=2, base_lr=3e-4, momentum=0.9, max_iter=400, lr_steps=(330,), snapshot=100,
    random_seed=1, solver='Adam', source=DEMO,
)  # fmt: skip
STAGES = StageTable({
    # PASCAL VOC 2012: Sec. 4 and 5
    'voc-front': VOC_FRONT_STAGE,
    'voc-front-fyu': Stage(
        'front_pascal_voc', 'data', init=('vgg16',), fresh=('fc-final',),
        crop_size=500, batch_size=14, base_lr=1e-4, momentum=0.9, max_iter=400_000, lr_steps=FYU_STEPS, source=FYU,
    ),
    'voc-coco-front': Stage(
        'front_pascal_voc', 'data', init=('vgg16',), fresh=('fc-final',), split=COCO_SPLIT,
        crop_size=500, batch_size=14, base_lr=1e-3, momentum=0.9, max_iter=140_000, lr_steps=(100_000,),
        source='paper 5, first stage', assumed=(CROP, FILLER, *SILENT),
    ),
    'voc-coco-front-finetune': Stage(
        'front_pascal_voc', 'data', init=('voc-coco-front',), fresh=(),
        crop_size=500, batch_size=14, base_lr=1e-5, momentum=0.9, max_iter=50_000,
        source='paper 5, second stage', assumed=(CROP, *SILENT),
    ),
    'voc-context-basic': voc_context('basic_pascal_voc'),
    'voc-context-basic-reflect': voc_context('basic_pascal_voc_reflect'),
    'voc-context-basic-fyu': Stage(
        'basic_pascal_voc_fyu', 'fc-final', init=('identity',), fresh=(), features_from='voc-front-fyu',
        crop_size=None, batch_size=60, base_lr=1e-3, momentum=0.9, max_iter=400_000, lr_steps=FYU_STEPS, source=FYU,
    ),
    'voc-context-large': voc_context('dilation8_pascal_voc'),
    'voc-context-large-reflect': voc_context('large_pascal_voc_reflect'),
    'voc-basic-joint-fyu': Stage(
        'basic_pascal_voc_fyu', 'data', init=('voc-front-fyu', 'voc-context-basic-fyu'), fresh=(),
        crop_size=500, batch_size=14, base_lr=1e-5, momentum=0.9, max_iter=400_000, lr_steps=FYU_STEPS, source=FYU,
    ),
    'voc-large-joint-fyu': Stage(
        'dilation8_pascal_voc', 'data', init=('voc-coco-front-finetune', 'voc-context-large'), fresh=(),
        crop_size=500, batch_size=14, base_lr=1e-5, momentum=0.9, max_iter=400_000, lr_steps=FYU_STEPS,
        source=FYU + ', where it is for Basic',
    ),
    # CRF-RNN end to end on whole images
    'voc-front-crfrnn': voc_crfrnn('front_pascal_voc_crfrnn', 'voc-coco-front-finetune'),
    'voc-basic-crfrnn': voc_crfrnn('basic_pascal_voc_crfrnn', 'voc-coco-front-finetune', 'voc-context-basic'),
    'voc-large-crfrnn': voc_crfrnn('large_pascal_voc_crfrnn', 'voc-coco-front-finetune', 'voc-context-large'),
    # CamVid: A and A.1
    'camvid-front': CAMVID_FRONT_STAGE,
    'camvid-joint': Stage(
        'dilation8_camvid', 'data', init=('camvid-front', 'identity'), fresh=(),
        crop_size=852, batch_size=1, base_lr=1e-5, momentum=0.9, max_iter=20_000,
        source='paper A, A.1', assumed=(('iterations', 'camvid-front'), BASIC_NOISE, *SILENT),
    ),
    # KITTI: A and A.2
    'kitti-front': Stage(
        'front_kitti', 'data', init=('vgg16',), fresh=('final',),
        crop_size=628, batch_size=8, base_lr=1e-4, momentum=0.99, max_iter=10_000, source='paper A, A.2',
        assumed=(FILLER, *SILENT),
    ),
    'kitti-joint': Stage(
        'dilation7_kitti', 'data', init=('kitti-front', 'identity'), fresh=(),
        crop_size=900, batch_size=1, base_lr=1e-5, momentum=0.99, max_iter=20_000, source='paper A, A.2',
        assumed=(BASIC_NOISE, *SILENT),
    ),
    # Cityscapes: A and A.3. The released network upsamples by 8 and was trained like this (fyu/dilation, issue 18).
    'cityscapes-front': Stage(
        'front_cityscapes', 'data', init=('vgg16',), fresh=('final',),
        crop_size=628, batch_size=8, base_lr=1e-4, momentum=0.99, max_iter=40_000, source='paper A, A.3',
        assumed=(FILLER, *SILENT),
    ),
    'cityscapes-context': Stage(
        'dilation10_cityscapes', 'final', init=('identity',), fresh=(), features_from='cityscapes-front',
        crop_size=None, batch_size=100, iter_size=50, base_lr=1e-4, momentum=0.99, max_iter=24_000, source='paper A, A.3',
        assumed=(BASIC_NOISE, *SILENT),
    ),
    'cityscapes-joint': Stage(
        'dilation10_cityscapes', 'data', init=('cityscapes-front', 'cityscapes-context'), fresh=(), split=HALVES,
        crop_size=1396, batch_size=1, base_lr=1e-5, momentum=0.99, max_iter=60_000, source='paper A, A.3', assumed=SILENT,
    ),
    # Table 2: the compared networks by their authors' settings
    'voc-fcn32s': fcn_stage('fcn32s_pascal_voc', 'vgg16', 'score_fr'),
    'voc-fcn16s': fcn_stage('fcn16s_pascal_voc', 'voc-fcn32s', 'score_pool4'),
    'voc-fcn8s': fcn_stage('fcn8s_pascal_voc', 'voc-fcn16s', 'score_pool3'),
    'voc-deeplab': deeplab_stage('deeplab_pascal_voc', 'vgg16_128', 20, DEEPLAB_CODE),
    'voc-deeplab-msc': msc_stage('deeplab_msc_pascal_voc', 'voc-deeplab', 20, MSC_CODE),
    'voc-deeplab-largefov': largefov_stage('deeplab_largefov_pascal_voc'),
    'voc-deeplab-msc-largefov': msc_largefov_stage('deeplab_msc_largefov_pascal_voc', 'voc-deeplab-largefov'),
    # Table 4's DeepLab++ and its multi-scale form. Their authors trained on COCO first and do not say how.
    'voc-coco-deeplab-largefov': after_coco(
        deeplab_stage('deeplab_largefov_pascal_voc', 'vgg16_20M_coco', 30, LARGEFOV_CODE), COCO_CODE
    ),
    'voc-coco-deeplab-msc-largefov': after_coco(
        msc_largefov_stage('deeplab_msc_largefov_pascal_voc', 'voc-coco-deeplab-largefov'), MSC_COCO_CODE, 'frozen layers'
    ),
    'camvid-fcn32s': fcn_stage('fcn32s_camvid', 'vgg16', 'score_fr'),
    'camvid-fcn16s': fcn_stage('fcn16s_camvid', 'camvid-fcn32s', 'score_pool4'),
    'camvid-fcn8s': fcn_stage('fcn8s_camvid', 'camvid-fcn16s', 'score_pool3'),
    'camvid-deeplab-largefov': largefov_stage('deeplab_largefov_camvid'),
    'camvid-deeplab-msc-largefov': msc_largefov_stage('deeplab_msc_largefov_camvid', 'camvid-deeplab-largefov'),
    'kitti-deeplab-largefov': largefov_stage('deeplab_largefov_kitti'),
    'cityscapes-fcn32s': fcn_stage('fcn32s_cityscapes', 'vgg16', 'score_fr'),
    'cityscapes-fcn16s': fcn_stage('fcn16s_cityscapes', 'cityscapes-fcn32s', 'score_pool4'),
    'cityscapes-fcn8s': fcn_stage('fcn8s_cityscapes', 'cityscapes-fcn16s', 'score_pool3'),
    'cityscapes-deeplab-largefov': largefov_stage('deeplab_largefov_cityscapes'),
    'cityscapes-deeplab-msc-largefov': msc_largefov_stage('deeplab_msc_largefov_cityscapes', 'cityscapes-deeplab-largefov'),
    # Sec. 4: the front end with what it takes out of VGG-16 brought back
    'voc-front-pooling': ablation_stage('front_pascal_voc_pooling', VOC_FRONT_STAGE),
    'voc-front-padding': ablation_stage('front_pascal_voc_padding', VOC_FRONT_STAGE),
    'voc-front-pooling-padding': ablation_stage('front_pascal_voc_pooling_padding', VOC_FRONT_STAGE),
    'camvid-front-pooling': ablation_stage('front_camvid_pooling', CAMVID_FRONT_STAGE),
    'camvid-front-padding': ablation_stage('front_camvid_padding', CAMVID_FRONT_STAGE),
    'camvid-front-pooling-padding': ablation_stage('front_camvid_pooling_padding', CAMVID_FRONT_STAGE),
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
    'camvid-cpu-large': Stage(
        'large_camvid_fc128', 'final', init=('identity',), fresh=(), features_from='camvid-cpu-front', mirror=False,
        crop_size=None, batch_size=1, base_lr=1e-3, momentum=0.9, max_iter=1101, snapshot=367, random_seed=1, source=RECIPE,
    ),
    'camvid-cpu-joint': Stage(
        'dilation8_camvid_fc128', 'conv5_3', init=('camvid-cpu-front', 'camvid-cpu-basic'), fresh=(), features_from='vgg16',
        crop_size=None, batch_size=1, base_lr=1e-5, momentum=0.9, max_iter=367, snapshot=367, mirror=False, random_seed=1,
        source=RECIPE,
    ),
    'camvid-cpu-front-crfrnn': camvid_crfrnn('front_camvid_fc128_crfrnn'),
    'camvid-cpu-basic-crfrnn': camvid_crfrnn('basic_camvid_fc128_crfrnn', 'camvid-cpu-basic'),
    'camvid-cpu-large-crfrnn': camvid_crfrnn('large_camvid_fc128_crfrnn', 'camvid-cpu-large'),
    # Table 5 in a night of a CPU
    'camvid-night-front': NIGHT_FRONT,
    'camvid-night-basic': Stage(
        'dilation8_camvid_fc512', 'final', init=('identity',), fresh=(), features_from='camvid-night-front',
        crop_size=None, batch_size=1, base_lr=1e-3, momentum=0.9, max_iter=5000, snapshot=500, random_seed=1, source=NIGHT,
    ),
    'camvid-night-joint': replace(
        NIGHT_FRONT, net='dilation8_camvid_fc512', init=('camvid-night-front', 'camvid-night-basic'), fresh=(),
        base_lr=2e-4, max_iter=800, lr_steps=(600,),
    ),
    'camvid-night-deeplab-largefov': replace(
        NIGHT_FRONT, net='deeplab_largefov_camvid_480x360', start='data', fresh=('fc6', 'fc7', 'fc8_camvid'), features_from=None,
        frozen=NIGHT_FROZEN, crop_size=372 + 360,
    ),
    # Table 2 and Sec. 4's ablation in miniature
    'camvid-small-fcn8s': small_stage('fcn8s_camvid_small', 'score_pool4', 'score_pool3', init=('bilinear',)),
    'camvid-small-deeplab': small_stage('deeplab_camvid_small'),
    'camvid-small-deeplab-msc': small_stage('deeplab_msc_camvid_small', *BRANCH_LAYERS),
    'camvid-small-front': small_stage('front_camvid_small'),
    'camvid-small-front-pooling': small_stage('front_camvid_pooling_small'),
    'camvid-small-front-padding': small_stage('front_camvid_padding_small'),
    'camvid-small-front-pooling-padding': small_stage('front_camvid_pooling_padding_small'),
    # the demonstration
    'toy-front': Stage(
        'front_toy', 'data', init=(), fresh=FROM_ZERO,
        crop_size=564, batch_size=2, base_lr=1e-3, momentum=0.9, max_iter=400, lr_steps=(350,), snapshot=100,
        random_seed=1, solver='Adam', source=DEMO,
    ),
    'toy-basic': TOY_CONTEXT,
    'toy-large': replace(TOY_CONTEXT, net='large_toy'),
})  # fmt: skip
