"""Refuses to change the lists of images or sizes beside LMDBs that were made from the current lists."""

import json
from pathlib import Path

from dataset_prep.lmdb_store import MANIFEST, check_current, read_manifest
from dataset_prep.records import Record, as_json, check_ids, files_sha256
from tools.support.errors import UserError


def check_lists(folder: Path, splits: dict[str, list[Record]]) -> None:
    """Raise UserError if the list of a split would change although an LMDB was made from it, or if the list is damaged.

    Otherwise test images would be scored against maps of another size, or a network trained on a mixture.
    """
    for split, records in splits.items():
        path = folder / f'{split}.json'
        check_ids(records, f'split {split}')
        listed, wanted = _listed(path), as_json(folder, split, records)
        made = [manifest.parent for manifest in sorted(folder.glob(f'*/{MANIFEST}'))] if listed != wanted else []
        for lmdb in made:
            manifest = read_manifest(lmdb)
            check_current(lmdb, manifest, 'remove it and run the same command again')
            if not _made_from(manifest, split, records):
                raise UserError(
                    f'{lmdb} was made from other files, or at another size, than {path} would list now. Then: '
                    f'{_in_words(listed)}. Now: {_in_words(wanted)}. Give another --out (with make: OUT=), or remove '
                    f'{folder} and all in it'
                )


def _made_from(manifest: dict, split: str, records: list[Record]) -> bool:
    """Whether an LMDB is of another split, or was made from these records."""
    return manifest.get('split') != split or manifest.get('files_sha256') == files_sha256(records)


def _listed(path: Path) -> dict | None:
    """What a list holds; None if it is missing or damaged. Raises UserError for complete JSON that is no list of records."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (FileNotFoundError, ValueError):
        return None
    if not content:
        return None
    if not isinstance(content, dict) or not content.keys() >= {'records', 'size_wh'}:
        raise UserError(f'{path} was not written by this toolkit and would be replaced; give another --out (with make: OUT=)')
    return content


def _in_words(listed: dict | None) -> str:
    if listed is None:
        return 'no list'
    sizes = {tuple(row.get('size_wh') or listed['size_wh'] or ()) for row in listed['records']}
    one = 'x'.join(map(str, min(sizes))) or 'their own size'
    size = one if len(sizes) == 1 else 'several sizes'
    return f'{len(listed["records"])} images of {size}'
