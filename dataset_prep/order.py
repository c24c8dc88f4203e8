"""The shuffled order of records in an LMDB, fixed by a seed and independent of library versions."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TypeVar

Item = TypeVar('Item')


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """`items` sorted by the SHA-256 of the seed and each item's id (the item itself if it is text)."""
    return sorted(items, key=lambda item: sha256(f'{seed} {getattr(item, "id", item)}'.encode()).digest())


def list_sha256(ids: Iterable[str]) -> str:
    """Fingerprint of a list of ids in its order: the SHA-256 of the ids, one a line."""
    return sha256(''.join(f'{one}\n' for one in ids).encode()).hexdigest()
