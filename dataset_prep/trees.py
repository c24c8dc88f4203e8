"""Finds a data set in the given folder: unpacked at any depth that its archives have, or still packed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dataset_prep.archives import UNPACKED, stem, unpacked
from tools.support.errors import UserError

_DEPTHS = ('', '*/', '*/*/')  # VOC's archive begins with VOCdevkit/VOC2012


@dataclass(frozen=True)
class Tree:
    """How a data set is recognised: `markers` lie in its folder, `archives` contain it, with their MD5 if known.

    `folder` is its name, which distinguishes it from others with the same markers.
    """

    what: str
    markers: tuple[str, ...]
    archives: Mapping[str, str | None] = field(default_factory=dict)
    folder: str | None = None


def find_tree(data: Path, tree: Tree, check_sums: bool = True) -> Path | None:
    """The folder of `tree`: `data`, a folder up to two levels below it, or one in an archive in `data`, which is unpacked.

    None if there is none.

    Raises UserError if `data` is no folder, or if several folders fit.
    """
    if not data.is_dir():
        raise UserError(f'no folder {data}; give the one that holds the data set, unpacked or not: DATA=FOLDER')
    if found := _one(data, tree):
        return found
    for name, md5 in tree.archives.items():
        folder = data / UNPACKED / stem(name)
        if (data / name).is_file():
            folder = unpacked(data / name, md5 if check_sums else None)
        if folder.is_dir() and (found := _one(folder, tree)):
            return found
    return None


def need_tree(data: Path, tree: Tree, check_sums: bool = True) -> Path:
    """find_tree(), but raises UserError with what was looked for if there is none."""
    found = find_tree(data, tree, check_sums)
    if not found:
        packed = f', nor {" or ".join(tree.archives)}' if tree.archives else ''
        raise UserError(
            f'{data} holds no {tree.what}: no folder with {", ".join(tree.markers)}{packed}; see dataset_prep/README.md'
        )
    return found


def _one(data: Path, tree: Tree) -> Path | None:
    """`data` or the one folder below it that holds all markers, at the highest level; None if there is none."""
    first = tree.markers[0]
    for depth in _DEPTHS:
        paths = (path for path in sorted(data.glob(depth + first)) if UNPACKED not in path.relative_to(data).parts)
        roots = [Path(*path.parts[: len(path.parts) - len(Path(first).parts)]) for path in paths]
        roots = [root for root in roots if all((root / marker).exists() for marker in tree.markers)]
        if len(roots) > 1:
            roots = [root for root in roots if root.name == tree.folder] or roots
        if len(roots) > 1:
            raise UserError(f'{roots[0]} and {roots[1]} both hold {tree.what}; give one of them')
        if roots:
            return roots[0]
    return None
