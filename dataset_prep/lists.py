"""Lists of ids, and files paired by name; what is empty, listed twice or alone is an error that names it."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tools.support.errors import UserError


def read_ids(path: Path) -> list[str]:
    """The ids, or other names, in a text file, one a line. Raises UserError if it is missing, empty, or has one twice."""
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except FileNotFoundError as error:
        raise UserError(f'no list at {path}') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path} is no text: byte {error.start} is not UTF-8') from error
    numbered: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if name in numbered:
            raise UserError(f'{path} line {number}: {name} is listed in line {numbered[name]} already')
        if name:
            numbered[name] = number
    if not numbered:
        raise UserError(f'{path} is empty; expected one name a line')
    return list(numbered)


def by_id(paths: Iterable[Path], id_of: Callable[[Path], str]) -> dict[str, Path]:
    """Files by id, in the order of ids. Raises UserError when two have the same."""
    found: dict[str, Path] = {}
    for path in sorted(paths):
        if (name := id_of(path)) in found:
            raise UserError(f'{path} and {found[name]} have the same name, {name}; keep one of them')
        found[name] = path
    return dict(sorted(found.items()))


def check_pairs(
    images: Mapping[str, Path], labels: Mapping[str, Path], image_of: Callable[[str], Path], label_of: Callable[[str], Path]
) -> None:
    """Raise UserError unless each image has its label and each label its image.

    The message names the file that the first lonely id lacks: `image_of(id)` or `label_of(id)`.
    """
    if lonely := sorted(images.keys() ^ labels.keys()):
        lacking = label_of(lonely[0]) if lonely[0] in images else image_of(lonely[0])
        raise UserError(f'{len(lonely)} images lack one file of their pair, the first lacks {lacking}')
