"""Scores that tools/test.py wrote anywhere below out/ and demo/, or a server sent, and the cells of the tables that they fill."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataset_prep.datasets import DATASETS, dataset, own_names
from pretrained.weights import WEIGHTS, Row, seen_in_training
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
    """One scores.json, or a server's answer, which has no confusion. `crf`: a dense CRF refined the network's scores."""

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
    seen: Row | None = None  # the file of weights that was trained on images of the split, if one is known to have been
    written: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether all images of the split were scored."""
        return self.images >= dataset(self.dataset).splits.get(self.split, 1)

    @property
    def name(self) -> str:
        """What to call it: the network, and whose weights."""
        origin = {TRAINED: self.origin.stage, RELEASED: RELEASED}.get(self.origin.kind, 'weights given')
        return f'{self.net}{" + crf" if self.crf else ""}, {origin}'

    def is_of(self, row: PaperRow) -> bool:
        """Whether it is the score of a row's system, which may stand in the row: of the whole split, of images never seen."""
        if row.here is None or not self.whole or self.seen or self.split != row.split:
            return False
        return row.here.is_made_by(self.net, self.origin.stage, self.origin.row, crf=self.crf)

    @property
    def left_out(self) -> str:
        """Why it is shown nowhere, as its weights have seen the images; empty if they have not."""
        return f'{self.seen.file} was trained on images of {self.split} ({self.seen.saw_by})' if self.seen else ''

    def scores(self, table: PaperTable) -> list[float | None]:
        """The mean, then the columns of a table, in percent."""
        mean, cells = (self.mean_category_iou, self.category_iou) if table.by_category else (self.mean_iou, self.class_iou)
        return [percent(mean), *(percent(cells.get(name)) for name in table.columns)]


def percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


@dataclass(frozen=True)
class Line:
    """A row of a table with what was measured: from released weights, from weights trained here, and what fills a blank."""

    name: str
    split: str
    source: str
    paper: PaperRow | None
    released: Result | None = None
    trained: Result | None = None
    released_todo: tuple[Command, ...] = ()
    trained_todo: tuple[Command, ...] = ()
    not_run: str = ''  # why nothing is measured here, where nothing is
    not_trained: str = ''  # why nothing is trained here, where only released weights are tested
    note: str = ''  # what a reader must know who compares


def find_results(folders: Sequence[Path] = FOLDERS) -> list[Result]:
    """All scores below the folders, newest first; files of another sort are passed over, but not a faulty one of a server."""
    found = [read_result(path) for folder in folders for path in sorted(folder.rglob('scores.json'))]
    found += [read_server_result(path) for folder in folders for path in sorted(folder.rglob(SERVER_SCORES))]
    return sorted((result for result in found if result), key=lambda result: -result.written)


def read_result(path: Path) -> Result | None:
    """The result in a scores.json; None if it is not one of tools/test.py, or of a network that there is no more."""
    try:
        scores = json.loads(path.read_text())
        return _result(path, scores['settings'], scores, scores['images'], scores.get('origin', {}))
    except (OSError, ValueError, KeyError, TypeError, IndexError, UserError):
        return None


def read_server_result(path: Path) -> Result | None:
    """What a test server answered for the label maps that tools/test.py wrote beside `path`; None if they were made anew since.

    UserError if it is faulty: it was typed by hand.
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
        raise UserError(f'{path}: {error!r}; what it should hold is in tools/README.md, "make tables"') from error


def _result(path: Path, settings: dict, scores: dict, images: int, origin: dict) -> Result | None:
    """The result that a file of scores holds; None of a network, or a user's own data set, that is no more what it was."""
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
    """The paper's tables, and one for each of the user's own data sets that was tested."""
    own = sorted({result.dataset for result in results if result.dataset not in DATASETS})
    return [*TABLES, *(PaperTable(0, f'Your own data: {name}', '', name, dataset(name).classes, ()) for name in own)]


def lines_of(table: PaperTable, results: Sequence[Result]) -> list[Line]:
    """The rows of a table with our numbers beside them; after them, results of networks that the paper does not have."""
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
    """A row that the paper does not have; without the numbers where the weights have seen the images."""
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
    """What tests the authors' file; nothing where they released none."""
    if not here.weights:
        return ()
    tests = test_commands(here.net, split, [f'pretrained/{WEIGHTS[here.weights].file}'], crf=here.crf, released=True)
    return ('make', f'weights-{here.weights}'), *tests


def trained_commands(here: Here, split: str) -> tuple[Command, ...]:
    """What trains a system with all that it starts from, the stored maps between included, and tests it."""
    if not here.stages:
        return ()
    stage, *_ = here.stages
    named = next((name for name, last in CHAINS.items() if last == (stage,)), '')
    training = ('make', f'train-{named}') if named else ('make', f'train-{stage}', 'CHAIN=1')
    if len(STAGES.of(here.net)) == 1:
        return training, *test_commands(here.net, split, crf=here.crf)
    return training, *test_commands(here.net, split, snapshots(stage), stage, crf=here.crf)


def snapshots(stage: str) -> list[str]:
    """The last snapshot of a stage, as it is typed, after those with the layers below the maps that it was trained on."""
    below = STAGES[stage].features_from or ''
    return [*(snapshots(below) if below in STAGES else []), f'runs/{stage}/{stage}_iter_{STAGES[stage].max_iter}.caffemodel']


def test_commands(
    net: str, split: str, weights: Sequence[str] = (), stage: str = '', *, crf: bool, released: bool = False
) -> tuple[Command, ...]:
    """What labels a split and scores it, or packs it for the server that does; before it, the search of a CRF's parameters.

    `weights` are files; without them the command finds its own. `stage` is named where the network has several: its results then
    lie in folders of its own, beside those of the others. So do those of the weights that its authors `released`.
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
    """What the folders of a network's (or stage's) scores and of its search are called: those of released weights apart."""
    return f'{name}-released' if released else name
