"""Lists the layers of a net in a phase: shapes as Caffe sets them up, costs (costs.py) and receptive fields.

Nothing runs. When Caffe sets a net up it allocates its weights and no blobs; the weights are freed when the call ends.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from google.protobuf import text_format

from tools.netinfo.costs import Costs, Pair, Shape, costs_of, data_costs, reach_of
from tools.support.caffe_import import net_of
from tools.support.errors import UserError
from tools.support.paths import ROOT

PHASES = {'train': 0, 'test': 1}  # as caffe.proto numbers them
SourceShape = tuple[int, int, int]  # channels, height, width of a record


@dataclass(frozen=True)
class View:
    """The receptive field of one cell of a blob and the step to the next cell, in pixels of the input."""

    field: Pair = (1, 1)
    stride: Pair = (1, 1)


@dataclass(frozen=True)
class Layer:
    """One layer after setup; `shapes` are the shapes of its tops."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    shapes: tuple[Shape, ...]
    params: tuple[Shape, ...]
    costs: Costs
    view: View
    computes_gradients: bool  # in training: for its weights or for a bottom
    passes_gradients: tuple[bool, ...]  # in training: for each bottom, whether it gets a gradient

    @property
    def in_place(self) -> bool:
        """Whether the layer writes its result over its input."""
        return bool(self.bottoms) and self.bottoms[:1] == self.tops[:1]


def resize(net, sides: tuple[int, ...]) -> None:
    """Give the first input of a net another size."""
    shapes = [layer.input_param.shape[0] for layer in net.layer if layer.type == 'Input' and layer.input_param.shape]
    shapes += list(net.input_shape)
    if shapes:
        shapes[0].dim[-len(sides) :] = sides
    elif net.input_dim:
        net.input_dim[4 - len(sides) : 4] = sides


class LayerAnswer(NamedTuple):
    """Caffe's answer about a layer: shapes of its tops and of its weights."""

    name: str
    type: str
    bottoms: list[str]
    tops: list[str]
    shapes: list[list[int]]
    params: list[list[int]]


def layers_of(
    net, phase: str, source: SourceShape | Mapping[str, SourceShape] | None = None, *, apart: bool = False
) -> list[Layer]:
    """The layers of `net` (NetParameter) in `phase`, 'train' or 'test', in order.

    `source`: shape of the records of Data layers, one for all or by layer name; by default the first record of their LMDB tells.
    `apart`: use a separate process, because a net with a fault ends the process of Caffe. Raises UserError for such a net, and
    for a Data layer whose records have no known size.
    """
    plain, read = _without_data(net, phase, source)
    return _layers(net, phase, read, _apart(plain, phase) if apart else list(_rows(_loaded(plain, phase))))


class Sizes:
    """A deploy net that is set up once and takes one input size after another."""

    def __init__(self, net) -> None:
        self._net, self._loaded = net, _loaded(net, 'test')

    def layers(self, size_hw: tuple[int, int]) -> list[Layer]:
        """The layers for a first input of `size_hw` pixels."""
        blob = self._loaded.blobs[self._loaded.inputs[0]]
        blob.reshape(*blob.shape[:2], *size_hw)
        self._loaded.reshape()
        return _layers(self._net, 'test', {}, list(_rows(self._loaded)))


def _without_data(net, phase: str, source) -> tuple[object, dict[str, Shape]]:
    """A copy of `net` with Input layers in place of Data layers, and the shapes of their records by layer name."""
    read = {}
    for layer in included(net, phase):
        if layer.type == 'Data':
            shape = source.get(layer.name) if isinstance(source, Mapping) else source
            channels, *size_hw = shape or _first_record(layer)
            crop, batch = layer.transform_param.crop_size, layer.data_param.batch_size
            read[layer.name] = (batch, channels, *((crop, crop) if crop else size_hw))
    return data_as_input(net, {name: (shape, shape[:1]) for name, shape in read.items()}), read


def data_as_input(net, shapes: Mapping[str, Sequence[Shape]]):
    """A copy of `net` with Input layers in place of the Data layers in `shapes` (shapes of the tops by layer name)."""
    plain = type(net)()
    plain.CopyFrom(net)
    for layer in plain.layer:
        if layer.type == 'Data' and layer.name in shapes:
            layer.type = 'Input'
            layer.ClearField('data_param')
            layer.ClearField('transform_param')
            for dims in shapes[layer.name][: len(layer.top)]:
                layer.input_param.shape.add().dim.extend(dims)
    return plain


def _first_record(layer) -> SourceShape:
    """Shape of the first record of a Data layer's LMDB, or from its crop and mean. Raises UserError if neither is there."""
    transform = layer.transform_param
    if transform.crop_size and len(transform.mean_value) > 1:
        return len(transform.mean_value), transform.crop_size, transform.crop_size
    path = Path(layer.data_param.source)
    path = path if path.is_absolute() or path.exists() else ROOT / path
    if not (path / 'data.mdb').is_file():
        raise UserError(
            f'layer {layer.name} reads {path}, which is not there to tell the size of its records; give it by --input'
        )
    from dataset_prep.lmdb_store import reading  # a deploy net needs neither
    from pretrained.caffemodel import caffe_pb2

    with reading(path) as transaction:
        for _, value in transaction.cursor():
            datum = caffe_pb2().Datum.FromString(bytes(value))
            return datum.channels, datum.height, datum.width
    raise UserError(f'{path} is empty; give the size of its records by --input')


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


def _loaded(net, phase: str):
    """A NetParameter loaded into Caffe, without fillers and the matrix of InfogainLoss, which change no shape."""
    plain = type(net)()
    plain.CopyFrom(net)
    for layer in plain.layer:
        for name in ('convolution_param', 'inner_product_param'):
            if layer.HasField(name):
                getattr(layer, name).ClearField('weight_filler')
                getattr(layer, name).ClearField('bias_filler')
        if layer.type == 'InfogainLoss' and layer.infogain_loss_param.source:
            layer.type, layer.softmax_param.axis = 'SoftmaxWithLoss', layer.infogain_loss_param.axis
    return net_of(plain, phase)


def _rows(net) -> Iterable[LayerAnswer]:
    """The layers of a net in Caffe, without the Split layers that Caffe adds."""
    layers = list(zip(net._layer_names, net.layers, strict=True))
    added = {name for name, layer in layers if layer.type == 'Split' and re.search(r'_split$', name)}
    whole = {top: net.bottom_names[name][0] for name in added for top in net.top_names[name]}
    for name, layer in layers:
        if name not in added:
            bottoms = [whole.get(blob, blob) for blob in net.bottom_names[name]]
            tops = [blob for blob in net.top_names[name]]
            shapes = [list(net.blobs[blob].shape) for blob in tops]
            yield LayerAnswer(name, layer.type, bottoms, tops, shapes, [list(blob.shape) for blob in layer.blobs])


def _apart(net, phase: str) -> list[LayerAnswer]:
    """The layers, from a separate process. Raises UserError with Caffe's message if it cannot set the net up."""
    command = [sys.executable, '-m', 'tools.netinfo.setup', phase]
    text = text_format.MessageToString(net)
    done = subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if re.match(r'F\d{8} ', line)]  # glog's fatal lines
        reason = (words or done.stderr.splitlines() or ['no message'])[-1]
        raise UserError(f'Caffe cannot set the net {net.name} up ({reason.partition("] ")[2] or reason})')
    return [LayerAnswer(**row) for row in json.loads(done.stdout)]


def _layers(net, phase: str, read: Mapping[str, Shape], rows: Iterable[LayerAnswer]) -> list[Layer]:
    """The layers with their costs; `read` has the record shapes of Data layers."""
    said = {layer.name: layer for layer in included(net, phase)} | {layer.name: layer for layer in net.layers}
    shapes: dict[str, Shape] = {}
    views: dict[str, View] = {}
    needing: set[str] = set()  # blobs that take a gradient
    found = []
    for row in rows:
        layer = said.get(row.name)
        kind = layer.type if layer is not None and not net.layers else row.type
        tops, params = tuple(tuple(shape) for shape in row.shapes), tuple(tuple(shape) for shape in row.params)
        bottoms = [shapes[name] for name in row.bottoms]
        view = _view([views[name] for name in row.bottoms], *reach_of(layer, kind, bottoms))
        passes = tuple(name in needing for name in row.bottoms)
        rates = layer.param if layer is not None and not net.layers else ()
        learns = any(rates[i].lr_mult != 0 if i < len(rates) else True for i in range(len(params)))
        shapes.update(zip(row.tops, tops, strict=True))
        views.update((name, view) for name in row.tops)
        for name in row.tops:
            (needing.add if any(passes) or learns else needing.discard)(name)
        costs = data_costs(layer, read[row.name]) if kind == 'Data' else costs_of(layer, kind, bottoms, tops, params)
        names = tuple(row.bottoms), tuple(row.tops)
        found.append(Layer(row.name, kind, *names, tops, params, costs, view, any(passes) or learns, passes))
    return found


def _view(below: list[View], extent: Pair, stride: Pair) -> View:
    """The view of a layer's output; with several inputs, from the input that sees most."""
    if not below:
        return View()
    widest = max(below, key=lambda view: view.field)
    field = [f + (e - 1) * s for f, e, s in zip(widest.field, extent, widest.stride, strict=True)]
    steps = [s * t for s, t in zip(widest.stride, stride, strict=True)]
    return View((field[0], field[1]), (steps[0], steps[1]))


if __name__ == '__main__':
    from pretrained.caffemodel import caffe_pb2

    asked = text_format.Parse(sys.stdin.read(), caffe_pb2().NetParameter())
    print(json.dumps([row._asdict() for row in _rows(_loaded(asked, sys.argv[1]))]))
