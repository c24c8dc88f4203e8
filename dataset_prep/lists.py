"""Reads lists of ids and pairs files by name. An empty list, a double entry or a file without its partner is an error.

Unicode has two forms of a letter with an accent, and file systems and editors write different ones. All ids here have the
composed form (NFC). Suffixes may be in capitals.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tools.support.errors import Fault, UserError, end_with_faults

# Control characters, line ends, and the code points that Python uses for bytes that are not UTF-8.
_UNFIT = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')


def composed(name: str) -> str:
    """`name` in the Unicode form of all ids."""
    return unicodedata.normalize('NFC', name)


def with_suffix(folder: Path, *suffixes: str) -> list[Path]:
    """The files in a folder with one of these suffixes, in lower or upper case; none if the folder does not exist."""
    return [path for path in folder.iterdir() if path.suffix.lower() in suffixes] if folder.is_dir() else []


def read_lines(path: Path) -> dict[int, str]:
    """The stripped lines of a list by number, from 1, without empty ones.

    A byte order mark and any line ends are accepted. Raises UserError if the file is missing, empty, or not UTF-8.
    """
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except FileNotFoundError as error:
        raise UserError(f'no list at {path}') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path} is not a text file: byte {error.start} is not UTF-8; save it as UTF-8') from error
    found = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    if not found:
        raise UserError(f'{path} is empty')
    return found


def read_ids(path: Path) -> list[str]:
    """The ids or names in a list, one per line. Raises the errors of read_lines(), and UserError for a double entry."""
    numbered: dict[str, int] = {}
    for number, line in read_lines(path).items():
        name = composed(line)
        if name in numbered:
            raise UserError(f'{path} line {number}: {name} is already listed in line {numbered[name]}')
        numbered[name] = number
    return list(numbered)


def by_id(paths: Iterable[Path], id_of: Callable[[Path], str]) -> dict[str, Path]:
    """Files by id, sorted, without hidden ones (macOS's ._NAME).

    Raises UserError if two files have the same id, or if a path cannot be written into a list.
    """
    found: dict[str, Path] = {}
    for path in sorted(path for path in paths if not path.name.startswith('.')):
        if _UNFIT.search(str(path)):
            raise UserError(f'{str(path)!r} contains control characters or bytes that are not UTF-8; rename it')
        if (name := composed(id_of(path))) in found:
            raise UserError(f'{path} and {found[name]} have the same name, {name}; keep one of them')
        found[name] = path
    return dict(sorted(found.items()))


def check_pairs(
    images: Mapping[str, Path], labels: Mapping[str, Path], image_of: Callable[[str], Path], label_of: Callable[[str], Path]
) -> None:
    """Raise UserError unless each image has its label and each label its image.

    The message names each missing file: `image_of(id)` or `label_of(id)`.
    """
    lonely = sorted(images.keys() ^ labels.keys())
    lacking = [Fault(f'no file at {label_of(name) if name in images else image_of(name)}') for name in lonely]
    end_with_faults(lacking, len(images.keys() | labels.keys()), 'images', 'each needs its image and its label')
