"""Finds the scores below out/ and demo/, from tools/test.py or a server, and assigns them to cells of the tables."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataset_prep.datasets import DATASETS, dataset, own_names
from pretrained.weights import WEIGHTS, WeightFile, seen_in_training
from prototxt.chains import CHAINS
from prototxt.experiments import NETS, STAGES
from tools.inference.origin import ORIGIN, RELEASED, TRAINED, Origin
from tools.report.paper_tables import TABLES, Here, PaperRow, PaperTable
from tools.report.server_scores import SERVER_SCORES, fractions
from tools.support.errors import UserError
from tools.support.paths import ROOT

Command = tuple[str, ...]  # its words
FOLDERS = (ROOT / 'out', ROOT / 'demo')


@dataclass(frozen=True)
class Result:
    """One scores.json, or a server's answer, which has no confusion matrix. `crf`: a dense CRF refined the scores."""

    folder: Path
    net: str
    dataset: str
    split: str
    origin: Origin
    crf: bool
    images: int
    mean_iou: float | None
    class_iou: dict[str, float | None]
    confusion: list[list[int]] = field(repr=False)
    category_iou: dict[str, float | None] = field(default_factory=dict)
    mean_category_iou: float | None = None
    seen: WeightFile | None = None  # a weight file known to be trained on images of the split
    written: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether all images of the split were scored."""
        return self.images >= dataset(self.dataset).splits.get(self.split, 1)

    @property
    def name(self) -> str:
        """The name of the result: network and origin of the weights."""
        origin = {TRAINED: self.origin.stage, RELEASED: RELEASED}.get(self.origin.kind, 'weights given')
        return f'{self.net}{" + crf" if self.crf else ""}, {origin}'

    def is_of(self, row: PaperRow) -> bool:
        """Whether the score may stand in a row: same system, the whole split, and images that the weights have not seen."""
        if row.here is None or not self.whole or self.seen or self.split != row.split:
            return False
        return row.here.is_made_by(self.net, self.origin.stage, self.origin.row, crf=self.crf)

    @property
    def left_out(self) -> str:
        """Why the score is not shown: its weights have seen the images. Empty if they have not."""
        return f'{self.seen.file} was trained on images of {self.split} ({self.seen.saw_by})' if self.seen else ''

    def scores(self, table: PaperTable) -> list[float | None]:
        """The mean, then the columns of a table, in percent."""
        mean, cells = (self.mean_category_iou, self.category_iou) if table.by_category else (self.mean_iou, self.class_iou)
        return [percent(mean), *(percent(cells.get(name)) for name in table.columns)]


def percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


@dataclass(frozen=True)
class Line:
    """A row of a table with our results from released weights and from weights trained here, and the commands for blank cells."""

    name: str
    split: str
    source: str
    paper: PaperRow | None
    released: Result | None = None
    trained: Result | None = None
    released_todo: tuple[Command, ...] = ()
    trained_todo: tuple[Command, ...] = ()
    not_run: str = ''  # why nothing can be measured here
    not_trained: str = ''  # why only released weights are tested here
    note: str = ''  # what a reader must know to compare


def find_results(folders: Sequence[Path] = FOLDERS) -> list[Result]:
    """All scores below the folders, newest first. Other files are skipped; a faulty server answer is an error."""
    found = [read_result(path) for folder in folders for path in sorted(folder.rglob('scores.json'))]
    found += [read_server_result(path) for folder in folders for path in sorted(folder.rglob(SERVER_SCORES))]
    return sorted((result for result in found if result), key=lambda result: -result.written)


def read_result(path: Path) -> Result | None:
    """The result in a scores.json; None if tools/test.py did not write it, or if its network is no longer in NETS."""
    try:
        scores = json.loads(path.read_text())
        return _result(path, scores['settings'], scores, scores['images'], scores.get('origin', {}))
    except (OSError, ValueError, KeyError, TypeError, IndexError, UserError):
        return None


def read_server_result(path: Path) -> Result | None:
    """A test server's answer for the label maps beside `path`; None if the maps are newer than the answer.

    Raises UserError if it is faulty, because it was typed by hand.
    """
    said = path.with_name('settings.json')
    try:
        settings, answer = json.loads(said.read_text()), json.loads(path.read_text())
        if path.stat().st_mtime < said.stat().st_mtime:
            return None
        name, split = settings['dataset'], settings['split']
        if split not in dataset(name).hidden:
            raise UserError(f'{path}: {name} {split} is scored here, by tools/test.py, not by a server')
        scores = {'confusion': []} | fractions(answer, {*dataset(name).classes, *dataset(name).categories})
        origin = json.loads(path.with_name(ORIGIN).read_text()) if path.with_name(ORIGIN).exists() else {}
        return _result(path, settings, scores, dataset(name).splits[split], origin)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{path}: {error}; tools/README.md says under "make tables" what it must hold') from error


def _result(path: Path, settings: dict, scores: dict, images: int, origin: dict) -> Result | None:
    """The result in a file of scores; None if its network, or the user's data set, has changed since."""
    net, name, files = settings['net'], settings['dataset'], [file for file, _ in settings['weights']]
    if net not in NETS or name not in (*DATASETS, *own_names()) or not scores['class_iou'].keys() <= set(dataset(name).classes):
        return None
    return Result(
        path.parent, net, name, settings['split'], Origin(origin.get('stage', ''), origin.get('row', '')),
        crf=bool(settings.get('crf')), images=images, mean_iou=scores['mean_iou'], class_iou=scores['class_iou'],
        confusion=scores['confusion'],
        category_iou=scores.get('category_iou', {}), mean_category_iou=scores.get('mean_category_iou'),
        seen=seen_in_training(files, name, settings['split']), written=path.stat().st_mtime,
    )  # fmt: skip


def tables_of(results: Sequence[Result]) -> list[PaperTable]:
    """The paper's tables, and one for each tested data set of the user."""
    own = sorted({result.dataset for result in results if result.dataset not in DATASETS})
    return [*TABLES, *(PaperTable(0, f'Your own data: {name}', '', name, dataset(name).classes, ()) for name in own)]


def lines_of(table: PaperTable, results: Sequence[Result]) -> list[Line]:
    """The rows of a table with our numbers, then the results of networks that the paper does not have."""
    lines = [_line(row, results) for row in table.rows]
    if table.number in (2, 4, 8):  # shown with the table of the same data set that can be scored here
        return lines
    used = {result.folder for line in lines for result in (line.released, line.trained) if result}
    splits = {row.split for row in table.rows} or {result.split for result in results}  # own data: all
    others = [
        result for result in results
        if result.dataset == table.dataset and result.split in splits and result.folder not in used and result.whole
    ]  # fmt: skip
    for result in reversed(others):  # in the order in which they were tested
        lines.append(_line_of(result))
    return lines


def _line_of(result: Result) -> Line:
    """A row that is not in the paper; without numbers if the weights have seen the images."""
    if result.left_out:
        return Line(result.name, result.split, 'not in the paper', None, not_run=f'a score that is left out: {result.left_out}')
    whose = (result, None) if result.origin.kind == RELEASED else (None, result)
    return Line(result.name, result.split, 'not in the paper', None, *whose)


def _line(row: PaperRow, results: Sequence[Result]) -> Line:
    here = row.here
    if here is None:
        return Line(row.name, row.split, row.source, row, not_run=row.why_not)
    fitting = [result for result in results if result.is_of(row)]
    released = next((result for result in fitting if not result.origin.stage), None)
    trained = next((result for stage in here.stages for result in fitting if result.origin.stage == stage), None)
    return Line(
        row.name, row.split, row.source, row, released, trained,
        () if released else released_commands(here, row.split),
        () if trained else trained_commands(here, row.split),
        not_trained=here.missing, note=here.note,
    )  # fmt: skip


def released_commands(here: Here, split: str) -> tuple[Command, ...]:
    """The commands that test the authors' file; none if they released none."""
    if not here.weights:
        return ()
    tests = test_commands(here.net, split, [f'pretrained/{WEIGHTS[here.weights].file}'], crf=here.crf, released=True)
    return ('make', f'weights-{here.weights}'), *tests


def trained_commands(here: Here, split: str) -> tuple[Command, ...]:
    """The commands that train a system, with all stages and stored maps before it, and test it."""
    if not here.stages:
        return ()
    stage, *_ = here.stages
    named = next((name for name, last in CHAINS.items() if last == (stage,)), '')
    training = ('make', f'train-{named}') if named else ('make', f'train-{stage}', 'CHAIN=1')
    if len(STAGES.of(here.net)) == 1:
        return training, *test_commands(here.net, split, crf=here.crf)
    return training, *test_commands(here.net, split, snapshots(stage), stage, crf=here.crf)


def snapshots(stage: str) -> list[str]:
    """The last snapshot of a stage as a person types it, after the files with the layers below its maps."""
    below = STAGES[stage].features_from or ''
    return [*(snapshots(below) if below in STAGES else []), f'runs/{stage}/{stage}_iter_{STAGES[stage].max_iter}.caffemodel']


def test_commands(
    net: str, split: str, weights: Sequence[str] = (), stage: str = '', *, crf: bool, released: bool = False
) -> tuple[Command, ...]:
    """The commands that label a split and score it, or pack it for a server; with a CRF, first the search of its parameters.

    Without `weights` (files) the command finds them. If the network has several stages, `stage` is named and its results have
    their own folder. So have results of weights that the authors `released`.
    """
    facts, folder, name = dataset(NETS[net].dataset), NETS[net].folder, stage or net
    test: Command = ('python3', 'tools/test.py', '--net', net, *(('--weights', *weights) if weights else ()))
    commands: list[Command] = []
    out = f'out/{"released" if released else "test"}/{name}{"-crf" if crf else ""}/{split}'
    if crf:
        kept = crf_folder(name, released)
        scores, found = ('--save-scores', f'out/scores/{kept}'), f'out/crf/{kept}'
        on_val = ('--out', f'out/test/{name}/val') if stage else ()
        commands += [
            (*test, '--split', 'val', *scores, *on_val),
            ('python3', 'tools/crf_search.py', '--scores', scores[1], '--data', f'data/{folder}', '--out', found),
        ]
        test = (*test, '--crf', f'{found}/crf.json', *(scores if split == 'val' else ()))  # which are there then
    own_out = ('--out', out) if stage else ()
    if split in facts.hidden:
        submit = 'python3', 'tools/submit.py', '--dataset', facts.name, '--pred', out
        return *commands, (*test, '--split', split, *own_out), submit
    return *commands, (*test, *own_out)


def crf_folder(name: str, released: bool) -> str:
    """Name of the folders with scores and CRF search of a network (or stage); released weights have their own."""
    return f'{name}-released' if released else name
