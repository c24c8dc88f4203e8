"""Shows, checks, renames, joins and splits the layers of weight files.

.venv/bin/python -m pretrained.net_surgery show FILE                    names, shapes, and which networks it is of
.venv/bin/python -m pretrained.net_surgery check NET FILE...            is every layer covered, and nothing left over?
.venv/bin/python -m pretrained.net_surgery join NET FILE... --out OUT   one file for NET, with the layer names of NET
.venv/bin/python -m pretrained.net_surgery split NET FILE --front OUT --context OUT

FILE is a caffemodel; for `show`, `join` and `split` also weights of PyTorch, Keras or NumPy with Caffe's layer names, whose
order, kernels and colours are converted. Caffe matches weights to layers by name. Layers of the context module begin with ctx_,
in the released VOC model with ct_; the front end's scores are `final`, there `fc-final`. `join` takes both and writes the names
of NET, so it also renames the layers of a file.
"""

import argparse
from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path

import numpy as np

from pretrained import caffemodel, formats
from pretrained.belonging import check_nothing_left_over, networks_of, refuse_strangers
from pretrained.bilinear import bilinear_kernel
from pretrained.caffemodel import Shape, Streamed
from pretrained.conventions import orientation
from pretrained.conversion import Converted
from pretrained.values import Layers, Values, all_finite
from prototxt.context import layer_names
from prototxt.experiments import NETS
from prototxt.names import resolve
from prototxt.networks import deploy
from prototxt.shapes import UPSAMPLINGS, param_shapes
from tools.support.errors import UserError, run_command


def renamed(held: Layers, net_name: str) -> Layers:
    """`held` with the names of `net_name` for the scores and the context module.

    Raises UserError if two layers would get the same name.
    """
    row = NETS[net_name]
    prefixes = {other.context.prefix for other in NETS.values() if other.context}
    finals = {other.front_end.final for other in NETS.values()}
    found: Layers = {}
    for name, blobs in held.items():
        prefix, _, rest = name.partition('_')
        if name in finals:
            new = row.front_end.final
        else:
            new = f'{row.context.prefix}_{rest}' if row.context and prefix in prefixes else name
        if new in found:
            raise UserError(f'two layers would be named {new}, one of them is {name}; give a file with one of them')
        found[new] = blobs
    return found


def join(net_name: str, paths: Sequence[Path], *, whole: bool = False) -> Converted:
    """The layers of `net_name` from `paths`, with its names and in its order. The last file with a layer provides it.

    A missing fixed upsampling is made. Layers that only other networks have are left out, with a line about them. Raises
    UserError if a layer is missing, does not fit, is not finite, or belongs to no network; with `whole`, also if it only belongs
    to other networks.
    """
    net, held, said = deploy(net_name), {}, []
    for path in paths:
        source = formats.read(path)
        said.append(f'{path}: {source.kind}')
        try:
            held.update(renamed(source.layers, net_name))
        except UserError as error:
            raise UserError(f'{path}: {error}') from error
    wanted, fixed = param_shapes(net), caffemodel.bilinear(net)
    if missing := [name for name in wanted if name not in held and name not in fixed]:
        raise UserError(f'no weights for {caffemodel.named(missing)} of {net_name} in {_list(paths)}; add the file that has them')
    said += _left_out(net, {name: blobs for name, blobs in held.items() if name not in wanted}, paths, whole=whole)
    found: Layers = {}
    faults, broken = [], []
    for name, shapes in wanted.items():
        if name in fixed and [blob.shape for blob in held.get(name, [])] != shapes:
            found[name] = [_bilinear(shape) for shape in shapes]
            continue
        found[name], fault = _fitted(name, held[name], shapes)
        faults += fault
        broken += [] if fault or all(map(all_finite, found[name])) else [name]
    if faults:
        raise UserError(f'{_list(paths)}: {caffemodel.first_faults(faults)}; give files of {net_name}')
    if broken:
        raise UserError(f'{_list(paths)}: {caffemodel.not_finite(broken)}; give others')
    return Converted(found | _in_bgr(found, said), said)


def _left_out(net, more: Layers, paths: Sequence[Path], *, whole: bool) -> list[str]:
    """A line about layers that only other nets have. Raises UserError for layers that no network has, or if `whole`."""
    factors = caffemodel.factors(net)
    more = {name: blobs for name, blobs in more.items() if not caffemodel.is_factor(factors, name, blobs)}
    refuse_strangers(net.name, paths, more)
    left = [name for name in more if name not in UPSAMPLINGS]
    if left and whole:
        raise UserError(
            f'{_list(paths)}: left over: {caffemodel.named(left)}, which {net.name} does not have; give weights of it'
        )
    return [f'left out: {caffemodel.named(left)}, which {net.name} does not have'] if left else []


def _fitted(name: str, blobs: list[Values], shapes: list[Shape]) -> tuple[list[Values], list[str]]:
    """The blobs of a layer in `shapes`, and a list of faults. A matrix may become a convolution over the whole map."""
    if len(blobs) != len(shapes):
        return blobs, [f'layer {name} has {len(blobs)} blobs, the net has {len(shapes)}']
    found, faults = [], []
    for blob, shape in zip(blobs, shapes, strict=True):
        matrix = len(blob.shape) == 2 or (len(blob.shape) == 4 and blob.shape[:2] == (1, 1))
        if blob.shape == shape or (matrix and blob.shape[-2] == shape[0] and blob.size == prod(shape)):
            found.append(Streamed(shape, blob.pieces) if isinstance(blob, Streamed) else blob.reshape(shape))
        else:
            faults.append(f'layer {name} has a blob of shape {blob.shape}, the net has {shape}')
    return found, faults


def _bilinear(shape: Shape) -> np.ndarray:
    """The kernels of a fixed bilinear upsampling."""
    return np.broadcast_to(bilinear_kernel(shape[-1]), shape)


def _in_bgr(layers: Layers, said: list[str]) -> Layers:
    """conv1_1 changed to BGR, with a line in `said`, if its values tell that it is for RGB; else nothing."""
    weights, *bias = layers.get('conv1_1', [np.empty(0)])
    way = orientation(weights) if isinstance(weights, np.ndarray) else None
    if not isinstance(weights, np.ndarray) or way is None or not way.rgb:
        return {}
    said.append('conv1_1 was for red, green, blue: made blue, green, red')
    return {'conv1_1': [np.ascontiguousarray(weights[:, ::-1]), *bias]}


def split(net_name: str, path: Path) -> tuple[Layers, Layers]:
    """(front end, context module) of a file of `net_name`, with its names. Raises the errors of join()."""
    row = NETS[net_name]
    if row.context is None:
        raise UserError(f'{net_name} has no context module to take apart from its front end')
    context, held = set(layer_names(row.context)), join(net_name, [path]).layers
    front = {name: blobs for name, blobs in held.items() if name not in context and name not in UPSAMPLINGS}
    return front, {name: blobs for name, blobs in held.items() if name in context}


def check(net_name: str, paths: Sequence[Path]) -> str:
    """A line about files that fit `net_name` exactly. Raises UserError for a missing, unfitting or left-over layer."""
    net = deploy(net_name)
    caffemodel.check(net, paths)
    check_nothing_left_over(net_name, paths)
    return f'{net_name}: all of {len(param_shapes(net))} layers with weights, nothing left over'


def write(path: Path, held: Layers, name: str, sources: Iterable[Path]) -> None:
    """Write layers straight from their files. Raises UserError if `path` is one of these files."""
    if any(path.exists() and path.samefile(source) for source in sources):
        raise UserError(f'{path} is one of the files to read; write to another file')
    caffemodel.write(path, held, name)
    print(f'{path}: {_summary(held)}')


def _summary(held: Layers) -> str:
    count = sum(blob.size for blobs in held.values() for blob in blobs)
    return f'{len(held)} layers, {count:,} parameters: {", ".join(held)}'


def _list(paths: Iterable[Path]) -> str:
    return ', '.join(map(str, paths))


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    added = {name: commands.add_parser(name) for name in ('show', 'check', 'join', 'split')}
    for name, command in added.items():
        if name != 'show':
            command.add_argument('net', help='a network, as in prototxt/experiments.py; short names work')
        command.add_argument('files', nargs='+' if name in ('check', 'join') else 1, type=Path, metavar='FILE')
    added['join'].add_argument('--out', type=Path, required=True, metavar='OUT', help='file to write')
    added['split'].add_argument('--front', type=Path, required=True, metavar='OUT', help='file for the front end')
    added['split'].add_argument('--context', type=Path, required=True, metavar='OUT', help='file for the context module')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.command == 'show':
        source = formats.read(args.files[0])
        for name, blobs in source.layers.items():
            print(f'{name:<16} {"  ".join("x".join(map(str, blob.shape)) for blob in blobs)}')
        print(f'{source.kind}; weights of {", ".join(networks_of(source.layers)) or "no network here"}')
        return
    net_name = resolve(args.net, NETS)
    if args.command == 'check':
        print(check(net_name, args.files))
    elif args.command == 'join':
        joined = join(net_name, args.files)
        write(args.out, joined.layers, net_name, args.files)
        print('\n'.join(joined.said))
    else:
        front, context = split(net_name, args.files[0])
        if args.front.resolve() == args.context.resolve():
            raise UserError(f'--front and --context are both {args.front}; give two files')
        write(args.front, front, f'{net_name}, front end', args.files)
        write(args.context, context, f'{net_name}, context module', args.files)


if __name__ == '__main__':
    run_command(main)
