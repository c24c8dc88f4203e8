"""A folder of results and the settings that they were made with: those of the same settings are kept, others are moved aside."""

import json
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from tools.support.atomic import write_json
from tools.support.errors import UserError

SETTINGS = 'settings.json'


def claim(folder: Path, settings: dict, results: str, beside: Sequence[str] = (), *, strange: str, option: str) -> None:
    """Make `folder` ready for results made with `settings` (plain JSON), as `<folder>/settings.json` says from then on.

    `results` and `beside` are patterns of file names: of the results, and of what was made from them. Those of an earlier run
    with other settings, which may have taken hours, are moved to `<folder>.1`, or the first such name that is free, and stderr
    tells. UserError if nothing says what made the results that are there: `strange` is what to call them, `option` is what
    names the folder.
    """
    said = folder / SETTINGS
    old = _settings(said)
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
    """Settings of an earlier run; none without one, or if the file is none of ours."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _free_name(folder: Path) -> Path:
    """`<folder>.1`, or the first such name that is not taken."""
    return next(path for number in count(1) if not (path := folder.with_name(f'{folder.name}.{number}')).exists())
