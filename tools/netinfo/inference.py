"""The layers of a NetParameter in a phase, with the shapes of all blobs and weights, as Caffe's Net::Init would set them up.

Nothing is allocated: shapes follow from layer to layer by the rules of layer_rules.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dataset_prep.lmdb_store import reading
from pretrained.caffemodel import caffe_pb2
from tools.netinfo import layer_rules
from tools.netinfo.layer_rules import Made, Shape, Unknown
from tools.support.errors import UserError
from tools.support.paths import ROOT

PHASES = {'train': 0, 'test': 1}  # as caffe.proto numbers them
SourceShape = tuple[int, int, int]  # channels, height, width of a record

Pair = tuple[float, float]  # along height, along width


@dataclass(frozen=True)
class View:
    """What one cell of a blob sees of the net's input, in input pixels: its receptive field, and the step to the next cell."""

    field: Pair = (1, 1)
    stride: Pair = (1, 1)


@dataclass(frozen=True)
class Layer:
    """One layer, set up."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    made: Made
    view: View
    computes_gradients: bool  # in training: for its weights or for what is below
    passes_gradients: tuple[bool, ...]  # in training, to each bottom

    @property
    def in_place(self) -> bool:
        """Whether it writes its result over its input."""
        return bool(self.bottoms) and self.bottoms[:1] == self.tops[:1]


def layers_of(net, phase: str, source: SourceShape | Mapping[str, SourceShape] | None = None) -> list[Layer]:
    """The layers of `net` (NetParameter) in `phase`, 'train' or 'test', in order.

    `source` is the shape of what Data layers read, of all or by the layer's name; without it, the first record of their LMDB
    tells. Raises Unknown for what only Caffe can set up, UserError for inputs that do not fit.
    """
    if net.layers:
        raise Unknown("the layers are of Caffe's old format")
    shapes: dict[str, Shape] = {}
    views: dict[str, View] = {}
    needing: set[str] = set()  # blobs that take a gradient
    found = [_old_input(net, shapes, views)] if net.input else []
    for layer in included(net, phase):
        bottoms = [_shape_of(layer, name, shapes) for name in layer.bottom]
        made = _made(layer, bottoms, source.get(layer.name) if isinstance(source, Mapping) else source)
        view = _view([views[name] for name in layer.bottom], made)
        passes = tuple(name in needing for name in layer.bottom)
        learns = any(layer.param[i].lr_mult != 0 if i < len(layer.param) else True for i in range(len(made.params)))
        shapes.update(zip(layer.top, made.tops, strict=False))
        views.update((name, view) for name in layer.top)
        for name in layer.top:
            (needing.add if any(passes) or learns else needing.discard)(name)
        found.append(
            Layer(layer.name, layer.type, tuple(layer.bottom), tuple(layer.top), made, view, any(passes) or learns, passes)
        )
    return found


def included(net, phase: str) -> Iterable:
    """The LayerParameters of `net` that its include and exclude rules leave in `phase`."""
    for layer in net.layer:
        rules = layer.include or layer.exclude
        if not rules or any(_meets(net.state, rule, phase) for rule in rules) == bool(layer.include):
            yield layer


def _meets(state, rule, phase: str) -> bool:
    """Whether a NetStateRule holds."""
    if rule.HasField('phase') and rule.phase != PHASES[phase]:
        return False
    if rule.HasField('min_level') and state.level < rule.min_level or rule.HasField('max_level') and state.level > rule.max_level:
        return False
    return set(rule.stage) <= set(state.stage) and not set(rule.not_stage) & set(state.stage)


def _old_input(net, shapes: dict[str, Shape], views: dict[str, View]) -> Layer:
    """`input` and `input_dim` or `input_shape` at the top of a net, as an Input layer."""
    dims = [tuple(shape.dim) for shape in net.input_shape]
    dims = dims or [tuple(net.input_dim[i : i + 4]) for i in range(0, len(net.input_dim), 4)]
    shapes.update(zip(net.input, dims, strict=True))
    views.update((name, View()) for name in net.input)
    return Layer('input', 'Input', (), tuple(net.input), Made(dims), View(), False, ())


def _made(layer, bottoms: list[Shape], source: SourceShape | None) -> Made:
    try:
        if layer.type == 'Data':
            channels, *size_hw = source or _first_record(layer)
            return layer_rules.data(layer, channels, (size_hw[0], size_hw[1]))
        return layer_rules.make(layer, bottoms)
    except Unknown:
        raise
    except (ValueError, IndexError) as error:
        raise UserError(f'layer {layer.name} ({layer.type}) does not fit its inputs {bottoms}: {error}') from error


def _first_record(layer) -> SourceShape:
    """Shape of the first record of a Data layer's LMDB; UserError without one, or a crop and a mean that tell."""
    transform = layer.transform_param
    if transform.crop_size and len(transform.mean_value) > 1:
        return len(transform.mean_value), transform.crop_size, transform.crop_size
    path = Path(layer.data_param.source)
    path = path if path.is_absolute() or path.exists() else ROOT / path
    if not (path / 'data.mdb').is_file():
        raise UserError(
            f'layer {layer.name} reads {path}, which is not there to tell the size of its records; give it by --input'
        )
    with reading(path) as transaction:
        for _, value in transaction.cursor():
            datum = caffe_pb2().Datum.FromString(bytes(value))
            return datum.channels, datum.height, datum.width
    raise UserError(f'{path} is empty; give the size of its records by --input')


def _shape_of(layer, name: str, shapes: dict[str, Shape]) -> Shape:
    if name not in shapes:
        raise UserError(f'layer {layer.name} takes the blob {name}, which no layer before it makes')
    return shapes[name]


def _view(below: list[View], made: Made) -> View:
    """The view of a layer's output; where it has several inputs, that of the one that sees most."""
    if not below:
        return View()
    widest = max(below, key=lambda view: view.field)
    extent, stride = made.reach
    field = [f + (e - 1) * s for f, e, s in zip(widest.field, extent, widest.stride, strict=True)]
    steps = [s * t for s, t in zip(widest.stride, stride, strict=True)]
    return View((field[0], field[1]), (steps[0], steps[1]))
