"""The recipes that train on CamVid on a CPU, as rows: stages, preparation of the images, and text of the report.

Each recipe prepares the images, stores the maps that a stage trains on, trains every stage and tests its last snapshot on all
test images. All start from VGG-16's convolutions (pretrained/vgg16.caffemodel).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataset_prep.datasets import dataset
from dataset_prep.records import load_split, save_split
from prototxt.experiments import NETS, SMALL_WH, STAGES
from prototxt.lmdb_names import lmdb_of
from tools.recipes.steps import TRAIN_ANEW, Steps
from tools.report.content import Scores, System, read_curve, read_scores
from tools.report.page import Report, publish
from tools.report.paper_tables import TABLE
from tools.support.errors import UserError
from tools.support.paths import DATA, PRETRAINED, RUNS
from tools.training.run_folder import newest_snapshot
from tools.training.storing import store_command

VGG16 = PRETRAINED / 'vgg16.caffemodel'


@dataclass(frozen=True)
class Recipe:
    """Stages trained and tested on CamVid.

    `systems`: name in the report -> stage, in the order of training. `preparation`: options of dataset_prep.camvid.
    `val_every`: stage -> iterations between the snapshots that are scored on the validation images.
    `table`: number of the paper's table whose rows of the same name are in the report, or None.
    `order`: whether the report compares the order of the scores with that of the table.
    """

    title: str
    notes: tuple[str, ...]
    systems: Mapping[str, str]
    preparation: tuple[object, ...] = ('--lists-only',)
    val_every: Mapping[str, int] = field(default_factory=dict)
    table: int | None = None
    order: bool = False

    @property
    def data(self) -> Path:
        """The folder of the prepared images."""
        first = next(iter(self.systems.values()))
        return DATA / NETS[STAGES[first].net].folder


ON_A_CPU = (
    "CamVid's training and test images at their own size. The convolutions of VGG-16 trained on ImageNet stay frozen. fc6 and "
    'fc7 have 128 channels instead of 4096 and start from random weights. The context modules Basic and Large start from '
    "the identity. These are not the paper's models, but what a CPU trains in two hours."
)
NIGHT = {
    'Front end': 'camvid-night-front', 'Front + Basic': 'camvid-night-basic',
    'Dilation8': 'camvid-night-joint', 'DeepLab-LFOV': 'camvid-night-deeplab-largefov',
}  # fmt: skip
RECIPES = {
    'camvid-cpu': Recipe(
        'CamVid on a CPU: frozen VGG-16 trunk, narrow front end, context modules Basic and Large',
        (ON_A_CPU, 'Joint: all layers after the frozen ones and Basic were trained further, together.'),
        {
            'Front end': 'camvid-cpu-front', 'Front + Basic': 'camvid-cpu-basic', 'Front + Large': 'camvid-cpu-large',
            'Front + Basic, joint': 'camvid-cpu-joint',
        },
    ),
    'camvid-night': Recipe(
        "The paper's Table 5 on CamVid, in a night of a CPU",
        (
            "CamVid's training and test images at their own size (the paper: 640x480). The networks start from VGG-16's "
            'convolutions trained on ImageNet; those up to conv3_3 stay frozen. fc6 and fc7 start from random weights. They have '
            '512 channels in the front end (the paper: 4096) and 1024 in DeepLab, as its authors have. The last snapshot of each '
            'stage is tested.',
            "The paper's column is its Table 5.",
        ),
        NIGHT,
        preparation=('--crop-size', STAGES[NIGHT['DeepLab-LFOV']].crop_size),
        val_every=dict(zip(NIGHT.values(), (500, 1000, 200, 500), strict=True)),
        table=5,
    ),
    'table2-mini': Recipe(
        "The paper's Table 2 and the ablation of its Section 4 in miniature, on CamVid",
        (
            "CamVid's training and test images at {}x{}. All networks start from the convolutions of VGG-16 trained on ImageNet, "
            'which stay frozen. fc6 and fc7 have 128 channels instead of 4096 and start from random weights. Each image is seen '
            'once, at the same rates for all, so only the networks differ. FCN-8s trains at once, not in three stages, on the '
            'mean over pixels. DeepLab and DeepLab-Msc are the plain ones, not LargeFOV. DeepLab-Msc trains at once too, and '
            'DeepLab without its tenfold rate of the scores.'.format(*SMALL_WH),
            "The paper's column is its Table 2: VOC 2012 test, whole networks, trained to the end. Compare the order only.",
        ),
        {
            'FCN-8s': 'camvid-small-fcn8s', 'DeepLab': 'camvid-small-deeplab', 'DeepLab-Msc': 'camvid-small-deeplab-msc',
            'Our front end': 'camvid-small-front', 'Front end, pooling': 'camvid-small-front-pooling',
            'Front end, padding': 'camvid-small-front-padding',
            'Front end, pooling and padding': 'camvid-small-front-pooling-padding',
        },
        preparation=('--size', '{}x{}'.format(*SMALL_WH), '--crop-size', STAGES['camvid-small-front'].crop_size),
        table=2,
        order=True,
    ),
}  # fmt: skip


def begin(out: Path) -> Steps:
    """The steps of a recipe, recorded in `out`. Raises UserError if VGG-16 is missing."""
    if not VGG16.exists():
        raise UserError(f'no weights at {VGG16}; run: make weights-vgg16')
    return Steps(out / 'steps.json', TRAIN_ANEW)


def train_and_test(recipe: Recipe, steps: Steps, source: Path, out: Path) -> None:
    """Run all steps of a recipe. CamVid is in `source`; scores go to `out`/<stage>."""
    prepare = '-m', 'dataset_prep.camvid', '--data', source, '--out', recipe.data
    steps.do('Prepare the images', *prepare, *recipe.preparation)
    stored: set[Path] = set()
    for stage in recipe.systems.values():
        val_every = recipe.val_every.get(stage)
        for split in ('train', 'test') if val_every is None else ('train', 'val', 'test'):
            store_maps(steps, stage, split, stored)
        scored = () if val_every is None else ('--val-every', val_every)
        steps.do(f'Train: {stage}', 'tools/train.py', stage, *scored)
    for stage in recipe.systems.values():
        test(steps, stage, 'test', out / stage)


def store_maps(steps: Steps, stage: str, split: str, stored: set[Path]) -> None:
    """Store the maps of a split for a stage, unless they are in `stored`; nothing for a stage on images."""
    row, maps = STAGES[stage], maps_of(stage, split)
    if row.start != 'data' and maps not in stored:
        stored.add(maps)
        steps.do(f'Store the maps of {row.start}: {split} images', *store_command(row, split, DATA, RUNS))


def maps_of(stage: str, split: str) -> Path:
    """The LMDB with the maps of a split for a stage."""
    return DATA / lmdb_of(STAGES[stage], split)


def test(steps: Steps, stage: str, split: str, out: Path, *options: object, title: str = 'Test') -> None:
    """Label a split with the newest snapshot of a stage and score it."""
    row = STAGES[stage]
    maps = () if row.start == 'data' else ('--features', maps_of(stage, split))
    steps.do(
        f'{title}: {stage}', 'tools/test.py', '--net', row.net, '--weights', newest_snapshot(RUNS / stage),
        '--data', DATA / NETS[row.net].folder, '--split', split, *maps, '--out', out, *options,
    )  # fmt: skip


def report(recipe: Recipe, steps: Steps, out: Path) -> Report:
    """The report: scores, pictures and curves."""
    paper = {row.name: row for row in TABLE[recipe.table].rows if row.name in recipe.systems} if recipe.table else {}
    systems = [System(name, out / stage) for name, stage in recipe.systems.items()]
    means = {name: row.mean_iou for name, row in paper.items()}
    order = (orders([read_scores(system) for system in systems], means),) if recipe.order else ()
    return Report(
        title=recipe.title,
        notes=(*recipe.notes, *order),
        dataset=dataset('camvid'),
        records=load_split(recipe.data, 'test'),
        systems=systems,
        curves=[read_curve(name, RUNS / stage) for name, stage in recipe.systems.items()],
        done=steps.done,
        paper=paper,
    )


def orders(scores: Sequence[Scores], paper: Mapping[str, float]) -> str:
    """A sentence with the systems of the paper from lowest to highest mean IoU, here and in the paper."""
    here = {row.name: 100 * row.mean_iou for row in scores if row.name in paper}
    said = [' < '.join(f'{name} {means[name]:.1f}' for name in sorted(means, key=means.__getitem__)) for means in (here, paper)]
    return f'Order here: {said[0]}. In the paper: {said[1]}.'


def follow(name: str, source: Path, out: Path) -> None:
    """Run the recipe `name` on CamVid in `source`, and publish its report in `out`."""
    recipe, steps = RECIPES[name], begin(out)
    train_and_test(recipe, steps, source, out)
    publish(report(recipe, steps, out), out)


# Table 3 in miniature starts from camvid-cpu.
PLAIN = {'Front end': 'camvid-cpu-front', 'Front + Basic': 'camvid-cpu-basic', 'Front + Large': 'camvid-cpu-large'}
SEARCH_SPLIT, EVERY, ROUNDS = 'val_tenth', 10, 2  # the grid search: its list of images, their share of val, and the grids
STRUCTURED = 'camvid-cpu-structured'
STRUCTURED_NOTES = (
    ON_A_CPU,
    'A grid search on every tenth validation image found the parameters of the dense CRF, for each of the three on its own. '
    'CRF-RNN starts from the plain weights and trains, with the context module below it, for one pass over the training images.',
)


def crf_rnn_of(stage: str) -> str:
    """The stage that adds CRF-RNN to the network of another."""
    return f'{stage}-crfrnn'


def refine(steps: Steps, source: Path, out: Path) -> None:
    """The steps after those of camvid-cpu: a dense CRF and a CRF-RNN for each of the three systems."""
    data = RECIPES['camvid-cpu'].data
    save_split(data, SEARCH_SPLIT, load_split(data, 'val')[::EVERY])
    stored: set[Path] = set()
    for stage in PLAIN.values():
        store_maps(steps, stage, SEARCH_SPLIT, stored)
        _with_crf(steps, stage, data, out)
    prepare = '-m', 'dataset_prep.camvid', '--data', source, '--out', data, '--whole'
    steps.do('Store the images as they are, for CRF-RNN', *prepare)
    for stage in map(crf_rnn_of, PLAIN.values()):
        steps.do(f'Train CRF-RNN: {stage}', 'tools/train.py', stage)
        test(steps, stage, 'test', out / stage)


def _with_crf(steps: Steps, stage: str, data: Path, out: Path) -> None:
    """Search the CRF's parameters on validation images, then refine the test images with the best."""
    scores, found = out / 'scores' / stage, out / 'crf' / stage
    test(steps, stage, SEARCH_SPLIT, out / SEARCH_SPLIT / stage, '--save-scores', scores, title='Scores to search on')
    steps.do(
        f'Grid search of the CRF: {stage}', 'tools/crf_search.py', '--scores', scores, '--data', data,
        '--split', SEARCH_SPLIT, '--rounds', ROUNDS, '--out', found,
    )  # fmt: skip
    test(steps, stage, 'test', out / f'{stage}-crf', '--crf', found / 'crf.json', title='Test with the CRF')


def structured_systems(out: Path) -> list[System]:
    """The nine rows of Table 3."""
    return [
        system
        for name, stage in PLAIN.items()
        for system in (
            System(name, out / stage),
            System(f'{name} + CRF', out / f'{stage}-crf'),
            System(f'{name} + RNN', out / crf_rnn_of(stage)),
        )
    ]


def follow_structured(_name: str, source: Path, out: Path) -> None:
    """Run camvid-cpu and what comes after it; the report goes to `out`/structured."""
    recipe, steps = RECIPES['camvid-cpu'], begin(out)
    train_and_test(recipe, steps, source, out)
    refine(steps, source, out)
    page = Report(
        title="CamVid on a CPU: the paper's Table 3 in miniature",
        notes=STRUCTURED_NOTES,
        dataset=dataset('camvid'),
        records=load_split(recipe.data, 'test'),
        systems=structured_systems(out),
        curves=[read_curve(f'{name} + RNN', RUNS / crf_rnn_of(stage)) for name, stage in PLAIN.items()],
        done=steps.done,
    )
    publish(page, out / 'structured')


# Name of a recipe -> what runs it, and the folder in out/ for its results.
FOLLOW: dict[str, tuple[Callable[[str, Path, Path], None], str]] = {
    **{name: (follow, name) for name in RECIPES},
    STRUCTURED: (follow_structured, 'camvid-cpu'),
}
