"""Scores the label maps of a split: scores.json, the printed table beside the paper's row, and the pictures."""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset_prep.contact_sheet import spread
from dataset_prep.datasets import IGNORE_LABEL, Dataset
from dataset_prep.parallel import in_order
from dataset_prep.records import Record, read_image, read_label
from pretrained.weights import seen_in_training
from tools import scoring
from tools.inference.label_maps import LabelMaps
from tools.inference.pictures import contact_sheet, panels, strip
from tools.report.evaluation import PLAIN, Evaluation, first
from tools.report.paper_tables import PaperRow, paper_row
from tools.scoring import trimap
from tools.support.atomic import write_json
from tools.support.errors import Fault, UserError, attempt, end_with_faults
from tools.support.png import write_png

SCORES = 'scores.json'
SHEET_IMAGES = 8  # on the contact sheet, spread evenly over the split


def report(
    test: Evaluation, records: list[Record], label_maps: LabelMaps, settings: dict, faults: dict[str, Fault],
    *, every: bool, bands: bool,
) -> None:  # fmt: skip
    """Score the label maps, write and print the scores, draw the pictures. Raises UserError if an image or label has a fault."""
    out = label_maps.folder
    (matrix, *near), ignored = score(records, label_maps, test.facts, faults, bands=bands)
    plain = score_without_crf(test, records, out / PLAIN, bands=bands) if settings['crf'] else None
    paper, of_categories = rows_beside(test, len(records), crf=settings['crf'] is not None)
    scores = scoring.summary(test.facts.classes, matrix, test.facts.category_ids())
    scores |= {'images': len(records), 'ignored_pixels': ignored}
    if plain is not None:
        measured = scoring.summary(test.facts.classes, plain[0])
        scores['without_crf'] = {name: measured[name] for name in ('mean_iou', 'class_iou', *scoring.OTHER_MEASURES)}
    curves = {}
    if bands:
        curves[''] = scores['trimap'] = trimap.curve(np.array(near))
        if plain is not None:
            curves[' without CRF'] = scores['without_crf']['trimap'] = trimap.curve(plain[1:])
    suffix = suffix_beside(out / SCORES, len(records))
    said = paper and {'table': paper.table, 'row': paper.name, 'mean_iou': paper.mean_iou, 'class_iou': paper.class_iou}
    scores |= {'paper': said, 'origin': test.origin_said(), 'settings': settings}
    write_json(out / SCORES.replace('.', f'{suffix}.'), scores)
    draw(records, label_maps, test.facts, out / f'pictures{suffix}', every)
    print(f'{test.net_name}, {test.facts.name} {test.split}: {len(records)} images, {matrix.sum()} pixels, {ignored} ignored')
    print(scoring.table(test.facts.classes, matrix, paper, None if plain is None else plain[0]))
    if 'category_iou' in scores:
        print(scoring.category_table(scores, of_categories))
    print(scoring.other_measures(scores))
    if bands:
        title = f'{test.net_name}, {test.facts.name} {test.split}'
        trimap.draw(curves, title, out / f'pictures{suffix}' / 'trimap.png')
        print(*(trimap.line(found, name) for name, found in curves.items()), sep='\n')


def score_without_crf(test: Evaluation, records: list[Record], folder: Path, *, bands: bool) -> np.ndarray | None:
    """score() of the network's own label maps; None if some are missing."""
    plain = LabelMaps(folder, test.settings())
    whole = all(plain.path(record.id).is_file() for record in records)
    return score(records, plain, test.facts, {}, bands=bands)[0] if whole else None


def rows_beside(test: Evaluation, images: int, *, crf: bool) -> tuple[PaperRow | None, PaperRow | None]:
    """The paper's rows for this evaluation, by class and by category; None for a part of a split and for training images."""
    seen = seen_in_training([path.name for path in test.weights], test.facts.name, test.split)
    if seen or images < test.facts.splits.get(test.split, 0):
        return None, None
    tested = test.net_name, test.split, test.origin.stage, test.origin.row
    return paper_row(*tested, crf=crf), paper_row(*tested, crf=crf, by_category=True)


def suffix_beside(path: Path, images: int) -> str:
    """A suffix for the names of results, if the folder holds results of more images; else empty."""
    try:
        more = path.is_file() and json.loads(path.read_text())['images'] > images
    except (ValueError, KeyError, TypeError):
        return ''  # damaged
    if more:
        print(f'{path} has more images and is kept; the scores go to a file beside it', file=sys.stderr)
    return first(images) if more else ''


def score(
    records: list[Record], label_maps: LabelMaps, facts: Dataset, faults: dict[str, Fault], *, bands: bool = False
) -> tuple[np.ndarray, int]:
    """Confusion matrix over all records, int64 (1, classes, classes), and the number of ignored pixels.

    With `bands`, the matrices of the bands along boundaries (tools.scoring.trimap) follow the first one. Raises UserError with
    all `faults` and all damaged labels and maps: a part of a split gets no score.
    """

    def count(record: Record) -> tuple[np.ndarray, int]:
        truth, prediction = read_label(record), label_maps.read(record.id)
        try:
            whole = scoring.confusion(truth, prediction, facts.num_classes)[np.newaxis]
        except ValueError as error:
            raise UserError(f'{label_maps.path(record.id)} against {record.label}: {error}') from error
        if not bands:
            return whole, truth.size
        near = trimap.confusions(truth, prediction, facts.num_classes, IGNORE_LABEL, void_rims=facts.void_rims)
        return np.concatenate([whole, near]), truth.size

    shape = 1 + bands * len(trimap.WIDTHS), facts.num_classes, facts.num_classes
    total, pixels, found = np.zeros(shape, np.int64), 0, list(faults.values())
    mapped = [record for record in records if record.id not in faults]
    counts = in_order(partial(attempt, count), mapped)
    for counted in tqdm(counts, total=len(mapped), unit='image', desc='scoring', disable=None):
        if isinstance(counted, Fault):
            found.append(counted)
        else:
            total += counted[0]
            pixels += counted[1]
    end_with_faults(found, len(records), 'images', f'the others are labelled in {label_maps.folder}; nothing is scored')
    return total, pixels - int(total[0].sum())


def draw(records: list[Record], label_maps: LabelMaps, facts: Dataset, out: Path, every: bool) -> None:
    """Write the contact sheet, and with `every` a strip for each image, to the folder `out`."""
    rows = [(record.id, pictures_of(record, label_maps, facts)) for record in spread(records, SHEET_IMAGES)]
    write_png(out / 'contact_sheet.png', contact_sheet(rows, facts))
    if every:
        for record in tqdm(records, unit='image', desc='drawing', disable=None):
            write_png(out / f'{record.id}.png', strip(record.id, pictures_of(record, label_maps, facts)))


def pictures_of(record: Record, label_maps: LabelMaps, facts: Dataset) -> list[np.ndarray]:
    """The panels image, truth, prediction and overlay."""
    return panels(read_image(record), read_label(record), label_maps.read(record.id), facts)
