"""Whether stored maps are those that a snapshot's layers were trained to go on from."""

from collections.abc import Sequence
from pathlib import Path

from tools.support.errors import UserError
from tools.training.record import RECORD, read_record


def check_maps_of_snapshot(weights: Sequence[Path], features: Path, manifest: dict) -> None:
    """UserError if a snapshot of `weights` was trained on maps of the same blob as those in `features`, by other weights.

    `manifest` is that of `features`. Files without a run.json beside them are taken as they are.
    """
    for path in weights:
        trained_on = _trained_on(path)
        same_blob = trained_on.get('blob') == manifest['blob']
        if same_blob and trained_on.get('weights_sha256') != manifest.get('weights_sha256'):
            made_with = ' '.join(row['file'] for row in trained_on.get('weights', [])) or 'other weights'
            raise UserError(
                f'{path} was trained on maps of {made_with}, sha256 {trained_on.get("weights_sha256")}; {features} holds maps of '
                f'sha256 {manifest.get("weights_sha256")}; make these again with the former, or train again on maps of the latter'
            )


def _trained_on(snapshot: Path) -> dict:
    """The manifest of the maps that a snapshot was trained on; empty for other files, and for images."""
    if not (snapshot.parent / RECORD).is_file():
        return {}
    manifest = read_record(snapshot.parent).get('lmdb', {}).get('manifest', {})
    return manifest if manifest.get('kind') == 'features' else {}
