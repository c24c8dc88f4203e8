"""Where a data set lies in the folder that was given: unpacked at any depth that its archives have, or still packed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dataset_prep.archives import UNPACKED, stem, unpacked
from tools.support.errors import UserError

_DEPTHS = ('', '*/', '*/*/')  # VOC's archive begins with VOCdevkit/VOC2012


def find_tree(data: Path, markers: Sequence[str], archives: Mapping[str, str | None], check_sums: bool = True) -> Path | None:
    """The folder that holds all of `markers`: `data`, one up to two below it, or one in an archive lying in `data`.

    `archives` are names of archives, each with its md5 where that is known; the first one there is unpacked beside itself.
    None if there is neither. Raises UserError if `data` is no folder, or if several folders will do.
    """
    if not data.is_dir():
        raise UserError(f'no folder {data}; give the one that holds the data set, unpacked or not: DATA=FOLDER')
    if found := _one(data, markers):
        return found
    for name, md5 in archives.items():
        folder = data / UNPACKED / stem(name)
        if (data / name).is_file():
            folder = unpacked(data / name, md5 if check_sums else None)
        if folder.is_dir() and (found := _one(folder, markers)):
            return found
    return None


def need_tree(data: Path, what: str, markers: Sequence[str], archives: Mapping[str, str | None], check_sums: bool = True) -> Path:
    """find_tree, but a UserError that says what was looked for if there is none."""
    found = find_tree(data, markers, archives, check_sums)
    if not found:
        packed = f', nor {" or ".join(archives)}' if archives else ''
        raise UserError(f'{data} holds no {what}: no folder with {", ".join(markers)}{packed}; see dataset_prep/README.md')
    return found


def _one(data: Path, markers: Sequence[str]) -> Path | None:
    """The one folder below `data`, the least deep, that holds all `markers`; None if there is none."""
    for depth in _DEPTHS:
        paths = (path for path in sorted(data.glob(depth + markers[0])) if UNPACKED not in path.relative_to(data).parts)
        roots = [Path(*path.parts[: len(path.parts) - len(Path(markers[0]).parts)]) for path in paths]
        roots = [root for root in roots if all((root / marker).exists() for marker in markers)]
        if len(roots) > 1:
            raise UserError(f'{roots[0]} and {roots[1]} both will do; give one of them')
        if roots:
            return roots[0]
    return None
