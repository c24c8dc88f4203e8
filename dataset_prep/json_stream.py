"""Reads a JSON file with a few long lists one entry at a time: COCO's annotations are 450 MB, several GB as Python objects."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from tools.support.errors import UserError

CHUNK = 1 << 22  # characters read at a time
LONGEST = 1 << 26  # characters of one entry: more is a fault in the file
_BLANK = ' \t\n\r'
_AFTER = tuple(',:]}' + _BLANK)  # what may follow a value


def entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) for the members of the object in a JSON file; a list gives a pair for each entry.

    Raises UserError if the file is missing, cut short, or holds something else.
    """
    try:
        with path.open(encoding='utf-8') as file:
            yield from _Stream(file).members()
    except FileNotFoundError as error:
        raise UserError(f'no file at {path}') from error
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path} is not a complete JSON file ({error}); fetch it again') from error


def first_member(path: Path, names: Collection[str]) -> str | None:
    """The first of `names` that is a member of the object in a JSON file; empty lists are skipped.

    None if there is none, if the file holds something else, or if it is a folder. The file is read only up to that member.
    """
    try:
        return None if path.is_dir() else next((name for name, _ in entries(path) if name in names), None)
    except UserError:
        return None


class _Stream:
    """The text of a file from `at` on; only a part is in memory."""

    def __init__(self, file: IO[str]):
        self._file, self._text, self._at = file, '', 0
        self._decoder = json.JSONDecoder()

    def members(self) -> Iterator[tuple[str, Any]]:
        """The pairs of entries()."""
        self._expect('{')
        if self._next() == '}':
            return
        while True:
            name = str(self._value())
            self._expect(':')
            if self._next() == '[':
                yield from ((name, value) for value in self._list())
            else:
                yield name, self._value()
            if self._expect(',}') == '}':
                return

    def _list(self) -> Iterator[Any]:
        """The entries of a list."""
        self._expect('[')
        if self._next() == ']':
            self._at += 1
            return
        while True:
            yield self._value()
            if self._expect(',]') == ']':
                return

    def _value(self) -> Any:
        """The value at the position, which moves to its end. More text is read until the value is complete."""
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > LONGEST or not self._more():
                    raise ValueError(error.msg) from error
                continue
            if self._text[end : end + 1] in _AFTER or not self._more():  # a number may go on
                self._at = end
                return value

    def _next(self) -> str:
        """The next character that is not blank; the position moves to it."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANK:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                raise ValueError('it ends too early')

    def _expect(self, characters: str) -> str:
        """Step over the next character, which must be one of `characters`; returns it."""
        found = self._next()
        if found not in characters:
            raise ValueError(f'{found!r} where one of {characters!r} belongs')
        self._at += 1
        return found

    def _more(self) -> bool:
        """Read on; returns whether there was more."""
        part = self._file.read(CHUNK)
        self._text, self._at = self._text[self._at :] + part, 0
        return bool(part)
