"""Layers of weight files: looked at, checked against a network, given a network's names, put together and taken apart.

.venv/bin/python -m pretrained.layers show FILE
.venv/bin/python -m pretrained.layers check NET FILE...              is every layer covered, and nothing left over?
.venv/bin/python -m pretrained.layers join NET FILE... --out OUT     one file for NET: front end and context module, or a renaming
.venv/bin/python -m pretrained.layers split NET FILE --front OUT --context OUT

Caffe matches weights to layers by name. The context module's layers begin with ctx_, in the released VOC model with ct_; the
front end's scores are `final`, there `fc-final`. `join` takes either and writes the names of NET, so it renames a file, too.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from pretrained import caffemodel
from pretrained.caffemodel import Blob
from prototxt.context import layer_names
from prototxt.experiments import NETS
from prototxt.names import resolve
from prototxt.networks import deploy
from prototxt.shapes import param_shapes
from tools.support.errors import UserError, run_command

Stored = dict[str, list[Blob]]


def renamed(held: Stored, net_name: str) -> Stored:
    """`held` with the names that `net_name` has for the scores and the context module, whichever row's it has now.

    Raises UserError if two of its layers would get one name.
    """
    row = NETS[net_name]
    prefixes = {other.context.prefix for other in NETS.values() if other.context}
    finals = {other.front_end.final for other in NETS.values()}
    found: Stored = {}
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


def join(net_name: str, paths: Sequence[Path]) -> Stored:
    """The layers of `net_name` out of `paths`, under its names and in its order; the last file that has a layer gives it.

    Raises UserError if a layer is missing or does not fit. Layers that the network has not are left.
    """
    net, held = deploy(net_name), {}
    for path in paths:
        try:
            held.update(renamed(_learned(path), net_name))
        except UserError as error:
            raise UserError(f'{path}: {error}') from error
    wanted, fixed = param_shapes(net), caffemodel.bilinear(net)
    faults = [name for name in wanted if name not in held and name not in fixed]
    if faults:
        raise UserError(f'no weights for {caffemodel.named(faults)} of {net_name} in {_list(paths)}; add the file that has them')
    misfits = [fault for name in wanted if name in held for fault in caffemodel.misfits(name, held[name], wanted[name])]
    if misfits:
        raise UserError(f'{_list(paths)}: {caffemodel.few(misfits)}; give files of {net_name}')
    return {name: held[name] for name in wanted if name in held}


def split(net_name: str, path: Path) -> tuple[Stored, Stored]:
    """(front end, context module) of a file of `net_name`, under their names there. UserError as in `join`."""
    row = NETS[net_name]
    if row.context is None:
        raise UserError(f'{net_name} has no context module to take apart from its front end')
    context, held = set(layer_names(row.context)), join(net_name, [path])
    fixed = caffemodel.bilinear(deploy(net_name))
    front = {name: blobs for name, blobs in held.items() if name not in context and name not in fixed}
    return front, {name: blobs for name, blobs in held.items() if name in context}


def check(net_name: str, paths: Sequence[Path]) -> str:
    """What to say of files that fit `net_name` exactly. Raises UserError for a layer missed, not fitting, or left over."""
    net = deploy(net_name)
    caffemodel.check(net, paths)
    wanted = param_shapes(net)
    over = [f'{path} has {name}' for path in paths for name in _learned(path) if name not in wanted]
    if over:
        raise UserError(f'left over: {caffemodel.few(over)}; {net_name} has no such layer: is it of another network?')
    return f'{net_name}: all of {len(wanted)} layers with weights, nothing left over'


def write(path: Path, held: Stored, name: str, sources: Iterable[Path]) -> None:
    """Write layers as they lie in their files. UserError if `path` is one of those."""
    if any(path.exists() and path.samefile(source) for source in sources):
        raise UserError(f'{path} is read from; write to another file')
    caffemodel.write(path, {layer: [_values(blob) for blob in blobs] for layer, blobs in held.items()}, name)
    print(f'{path}: {_summary(held)}')


def _values(blob: Blob):
    """The values of a blob without the leading ones of old files, by which a bias has four dimensions."""
    bias = blob.legacy and blob.shape[:3] == (1, 1, 1)
    return blob.view().reshape(-1) if bias else blob.view()


def _learned(path: Path) -> Stored:
    """The layers of a file that have weights."""
    return {name: blobs for name, blobs in caffemodel.stored(path).items() if blobs}


def _summary(held: Stored) -> str:
    count = sum(part.size for blobs in held.values() for blob in blobs for part in blob.values)
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
        for name, blobs in _learned(args.files[0]).items():
            print(f'{name:<16} {"  ".join("x".join(map(str, blob.shape)) for blob in blobs)}')
        return
    net_name = resolve(args.net, NETS)
    if args.command == 'check':
        print(check(net_name, args.files))
    elif args.command == 'join':
        write(args.out, join(net_name, args.files), net_name, args.files)
    else:
        front, context = split(net_name, args.files[0])
        if args.front.resolve() == args.context.resolve():
            raise UserError(f'--front and --context are both {args.front}; give two files')
        write(args.front, front, f'{net_name}, front end', args.files)
        write(args.context, context, f'{net_name}, context module', args.files)


if __name__ == '__main__':
    run_command(main)
