"""Small pictures like the paper's Figures 2 to 5, from label maps on disk, for a page."""

from collections.abc import Sequence

from dataset_prep.contact_sheet import spread
from dataset_prep.datasets import dataset
from dataset_prep.parallel import in_order
from dataset_prep.records import Record, load_split, read_image, read_label
from prototxt.experiments import NETS
from tools import scoring
from tools.report.results import Result
from tools.report.strips import Picture, Strip, drawing, photo
from tools.scoring.folders import read_map
from tools.support.errors import UserError
from tools.support.paths import DATA, ROOT
from tools.support.sheets import colorize

WIDTH = 300  # pixels of a picture
STAGES_WIDTH = 480  # pixels, for one image through the stages
WORST, EVEN = 4, 3


def records_of(result: Result) -> list[Record]:
    """The images of a result whose files exist; none if the data set was moved away."""
    for folder in (DATA / NETS[result.net].folder, result.folder.parents[1] / 'data', ROOT / 'demo' / 'data'):
        try:
            records = load_split(folder, result.split)
        except UserError:
            continue
        if records and records[0].dataset == result.dataset:
            return [record for record in records if is_there(record, result)]
    return []


def is_there(record: Record, result: Result) -> bool:
    """Whether image, truth and prediction exist."""
    files = (record.image, record.label, result.folder / f'{record.id}.png')
    return all(path is not None and path.is_file() for path in files)


def image_scores(result: Result, records: Sequence[Record]) -> list[float]:
    """Mean IoU of each image over the classes that occur in it."""
    classes = dataset(result.dataset).num_classes

    def score(record: Record) -> float:
        return scoring.mean_iou(scoring.confusion(read_label(record), read_map(result.folder / f'{record.id}.png'), classes))

    return list(in_order(score, records))


def worst(result: Result, records: Sequence[Record], count: int = WORST) -> list[Strip]:
    """Figure 4: image, our result and ground truth of the images with the lowest scores, worst first."""
    scores = image_scores(result, records)
    order = sorted(range(len(records)), key=lambda i: (scores[i], records[i].id))
    return [
        row(records[i], [('Our result', result)], title=f'{records[i].id}: mean IoU of this image {100 * scores[i]:.1f}')
        for i in order[:count]
    ]


def side_by_side(results: Sequence[Result], records: Sequence[Record], count: int = EVEN) -> list[Strip]:
    """Figures 2 and 3: image, the prediction of each system, and ground truth, for images at even distances in the split."""
    return [row(record, [(result.name, result) for result in results]) for record in spread(records, count)]


def through_stages(results: Sequence[Result], record: Record) -> list[Strip]:
    """Figure 5: one image, larger, with the prediction after each stage of training."""
    return [row(record, [(result.name, result) for result in results], STAGES_WIDTH)]


def row(record: Record, systems: Sequence[tuple[str, Result]], width: int = WIDTH, title: str = '') -> Strip:
    """Image, predictions, ground truth."""
    facts = dataset(record.dataset)
    pictures = [Picture('Image', photo(read_image(record), width))]
    for name, result in systems:
        pictures.append(Picture(name, drawing(colorize(read_map(result.folder / f'{record.id}.png'), facts), width)))
    pictures.append(Picture('Ground truth', drawing(colorize(read_label(record), facts), width)))
    return Strip(title or record.id, tuple(pictures))
