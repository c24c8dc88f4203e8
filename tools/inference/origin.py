"""Finds out where weights come from: a stage trained here, the authors' file, or neither; checks stored maps of a snapshot."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pretrained.weights import WEIGHTS
from prototxt.chains import stages_of
from prototxt.experiments import NETS, STAGES
from tools.inference.weights_choice import cut_from
from tools.support.errors import UserError
from tools.training.record import RECORD, read_record

ORIGIN = 'origin.json'  # beside the label maps of tools/test.py
TRAINED, RELEASED, GIVEN = 'trained here', 'released', 'given'


@dataclass(frozen=True)
class Origin:
    """The origin of weights: `stage` trained them here, or they are the file of `row` in pretrained/weights.py."""

    stage: str = ''
    row: str = ''

    @property
    def kind(self) -> str:
        """The kind of origin in one word; 'released' means a file that its authors published."""
        return TRAINED if self.stage else RELEASED if self.row in NETS else GIVEN


def origin_of(path: Path) -> Origin:
    """The origin of one file, from the run.json of its run folder or from its path in pretrained/."""
    folder = path.absolute().parent
    for run_folder in (folder, folder.parent):  # snapshots that are scored during the training lie one folder deeper
        with suppress(UserError):
            stage = read_record(run_folder)['settings'].get('stage', '')
            return Origin(stage=stage if stage in STAGES else '')
    return Origin(row=next((name for name, row in WEIGHTS.items() if cut_from(path, row.path)), ''))


def origin_of_all(paths: Sequence[Path]) -> Origin:
    """The origin of several files: that of the last file, if it was trained on the others; else none."""
    *below, last = map(origin_of, paths)
    known = set(_starts(last.stage)) if last.stage else set()
    return last if all({origin.stage, origin.row} & known for origin in below) else Origin()


def _starts(stage_name: str) -> Iterator[str]:
    """The stages and weight rows that a stage starts from, directly or not."""
    for name in stages_of((stage_name,)):
        stage = STAGES[name]
        yield from (source for source in (name, *stage.init, stage.features_from) if source and source != stage_name)


def check_maps_of_snapshot(weights: Sequence[Path], features: Path, manifest: dict) -> None:
    """Raise UserError if a snapshot of `weights` was trained on maps that other weights made than those in `features`.

    `manifest` is the manifest of `features`. Files without a run.json beside them are not checked.
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
    """The manifest of the maps that a snapshot was trained on; empty for other files and for training on images."""
    if not (snapshot.parent / RECORD).is_file():
        return {}
    manifest = read_record(snapshot.parent).get('lmdb', {}).get('manifest', {})
    return manifest if manifest.get('kind') == 'features' else {}
