"""Keeps results in a folder that were made with the same settings, and moves other results aside."""

import json
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from tools.support.atomic import write_json
from tools.support.errors import UserError

SETTINGS = 'settings.json'
ADDED_LATER = {'engine': 'caffe'}  # settings that results of an earlier version do not name, and the value that those had


def claim(folder: Path, settings: dict, results: str, beside: Sequence[str] = (), *, strange: str, option: str) -> None:
    """Prepare `folder` for results made with `settings` (plain JSON), and write these to `<folder>/settings.json`.

    `results` and `beside` are patterns of file names: the results, and files made from them. Results with other settings may
    have taken hours, so they are moved to `<folder>.1`, or the first free name like it, with a line on stderr. Raises UserError
    if there are results without a settings.json; the message calls them `strange` and names the `option` of the folder.
    """
    said = folder / SETTINGS
    old = _settings(said)
    old = {name: value for name, value in ADDED_LATER.items() if old and name in settings} | old
    if old == settings:
        return
    found = sorted(folder.glob(results))
    if found and old.keys() != settings.keys():
        raise UserError(f'{folder} holds {strange}; choose another folder by {option}')
    if found:
        aside = _free_name(folder.absolute())
        aside.mkdir()
        for path in (*found, *(path for pattern in beside for path in folder.glob(pattern)), said):
            path.rename(aside / path.name)
        changed = ', '.join(name for name in settings if settings[name] != old[name])
        print(f'{folder} held results of other settings ({changed}); they were moved to {aside}', file=sys.stderr)
    write_json(said, settings)


def _settings(path: Path) -> dict:
    """Settings of an earlier run; empty if there is no readable settings.json."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _free_name(folder: Path) -> Path:
    """`<folder>.1`, or the first free name like it."""
    return next(path for number in count(1) if not (path := folder.with_name(f'{folder.name}.{number}')).exists())
