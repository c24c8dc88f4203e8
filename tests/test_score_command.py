"""tools/score.py on folders of label maps, against Cityscapes' own evaluator and plain loops."""

import json
import struct
import zlib
from itertools import product

import numpy as np
import pytest
from PIL import Image

from dataset_prep import label_png
from dataset_prep.datasets import dataset
from dataset_prep.label_encodings import CITYSCAPES_IDS as LABELS
from tools import score, scoring
from tools.scoring import counting
from tools.scoring.benchmarks import BENCHMARKS, LABEL_IDS
from tools.scoring.folders import read_map
from tools.support.errors import UserError


def write(path, labels, mode='L'):
    """Writes a PNG of one channel, or of three for labels (H, W, 3). Mode P has a palette, as VOC's files have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(labels, np.uint8))
    if mode == 'P':
        picture.putpalette([value for index in range(256) for value in (index * 37 % 256, index * 59 % 256, index * 83 % 256)])
    picture.save(path)


@pytest.fixture
def run(tmp_path):
    """Scores the folders tmp_path/{pred,gt}; returns what --json holds."""

    def run(name, *options):
        out = tmp_path / 'scores.json'
        folders = ['--pred', str(tmp_path / 'pred'), '--gt', str(tmp_path / 'gt')]
        score.main(['--dataset', name, *folders, '--json', str(out), *options])
        return json.loads(out.read_text())

    return run


def city(folder, prediction, truth, number=0, town='aachen'):
    """Writes a prediction and its truth in Cityscapes' layout."""
    image = f'{town}_{number:06}_000019'
    write(folder / 'pred' / f'{image}_leftImg8bit_mine.png', prediction)
    write(folder / 'gt' / town / f'{image}_gtFine_labelIds.png', truth)


def official(folder):
    """The scores that cityscapesScripts' evaluator gives for the pairs of a folder."""
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation

    truths = sorted((folder / 'gt').rglob('*_labelIds.png'))
    predictions = [next((folder / 'pred').glob(path.name.split('_gtFine')[0] + '*.png')) for path in truths]
    evaluation.args.quiet, evaluation.args.JSONOutput, evaluation.args.evalInstLevelScore = True, False, False
    return evaluation.evaluateImgLists([str(path) for path in predictions], [str(path) for path in truths], evaluation.args)


def assert_official(ours, theirs):
    """The numbers are equal to the last bit."""
    assert len(ours['class_iou']) == 19 and len(ours['category_iou']) == 7
    assert ours['class_iou'] == {name: none_if_nan(theirs['classScores'][name]) for name in ours['class_iou']}
    assert ours['category_iou'] == {name: none_if_nan(theirs['categoryScores'][name]) for name in ours['category_iou']}
    assert ours['mean_iou'] == none_if_nan(theirs['averageScoreClasses'])
    assert ours['mean_category_iou'] == none_if_nan(theirs['averageScoreCategories'])


def none_if_nan(value):
    return None if np.isnan(value) else value


@pytest.mark.parametrize('seed', range(4))
def test_cityscapes_is_its_evaluator_on_random_maps(run, tmp_path, seed):
    """Truth and predictions have all 34 ids. There are more images than are read at a time."""
    rng = np.random.default_rng(seed)
    for number in range(11):
        truth = rng.integers(0, 34, (24, 40))
        noise = rng.integers(0, 34, (24, 40))
        city(tmp_path, np.where(rng.random((24, 40)) < 0.6, truth, noise), truth, number, ('aachen', 'ulm')[number % 2])
    assert_official(run('cityscapes'), official(tmp_path))


ROAD, WALL, PARKING, VOID, TRAIN, BUS = (LABELS.index(name) for name in ('road', 'wall', 'parking', 'static', 'train', 'bus'))
EDGE_CASES = {
    'an ignored id predicted is a miss': ([[PARKING, ROAD]], [[ROAD, ROAD]]),
    'void truth counts for nobody': ([[ROAD, ROAD]], [[VOID, ROAD]]),
    'an ignored id of the same category in the truth': ([[ROAD, WALL]], [[PARKING, WALL]]),
    'a class never in the truth is predicted': ([[TRAIN, ROAD]], [[ROAD, ROAD]]),
    'a mistake inside a category': ([[TRAIN, ROAD]], [[BUS, ROAD]]),
    'nothing but void': ([[ROAD, TRAIN]], [[VOID, 0]]),
    'all right': ([[ROAD, WALL, TRAIN]], [[ROAD, WALL, TRAIN]]),
    'a class only in void truth and prediction': ([[TRAIN, ROAD]], [[VOID, ROAD]]),
}


@pytest.mark.parametrize('case', EDGE_CASES)
def test_cityscapes_is_its_evaluator_on_edge_cases(run, tmp_path, case):
    """Ids that are not evaluated, void, and classes that are in only one of the maps."""
    city(tmp_path, *EDGE_CASES[case])
    assert_official(run('cityscapes'), official(tmp_path))


def test_the_ids_are_those_of_the_evaluator():
    """Names, numbers, categories, and which ids are evaluated."""
    from cityscapesscripts.helpers.labels import category2labels, id2label, name2label

    assert [id2label[i].name for i in range(34)] == list(LABELS) and 34 not in id2label
    assert {name for name in LABELS if not name2label[name].ignoreInEval} == LABEL_IDS.keys()
    assert {name: name2label[name].trainId for name in LABEL_IDS} == BENCHMARKS['cityscapes_train_ids'].classes
    for category, members in dataset('cityscapes').categories.items():
        assert members == tuple(label.name for label in category2labels[category] if not label.ignoreInEval)


def test_train_ids_score_as_label_ids(run, tmp_path):
    """Networks predict train ids; only maps for the server have label ids."""
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 20, (30, 40)), rng.integers(0, 19, (30, 40))
    ids = np.array([*LABEL_IDS.values(), 0])
    city(tmp_path, ids[prediction], ids[truth])
    label_ids = run('cityscapes')
    for path in [*tmp_path.rglob('*.png')]:
        path.unlink()
    write(tmp_path / 'pred' / 'aachen_000000_000019.png', prediction)
    write(tmp_path / 'gt' / 'aachen_000000_000019_gtFine_labelTrainIds.png', np.where(truth == 19, 255, truth))
    train_ids = run('cityscapes_train_ids')
    for key in ('mean_iou', 'class_iou', 'mean_category_iou', 'category_iou', 'pixels'):
        assert train_ids[key] == label_ids[key]


def test_train_ids_are_scored_against_the_files_of_the_archive(run, tmp_path):
    """The archive has label ids, which cityscapesScripts maps to train ids. If it has files of train ids too, those count."""
    from cityscapesscripts.helpers.labels import id2label

    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 34, (30, 40)), rng.integers(0, 19, (30, 40))
    train_ids = np.array([id2label[label].trainId for label in range(34)])[truth]
    stem = 'aachen_000000_000019'
    write(tmp_path / 'pred' / f'{stem}_leftImg8bit.png', prediction)
    write(tmp_path / 'gt' / f'{stem}_gtFine_labelIds.png', truth)
    of_archive = run('cityscapes_train_ids')
    write(tmp_path / 'gt' / f'{stem}_gtFine_labelTrainIds.png', train_ids)
    assert run('cityscapes_train_ids') == of_archive
    hits, counted = ((train_ids == prediction) & (train_ids != 255)).sum(), (train_ids != 255).sum()
    assert (of_archive['pixels'], of_archive['pixel_accuracy']) == (counted, hits / counted)


@pytest.mark.parametrize('words', ['ids that are not evaluated', 'no prediction is above 18'])
def test_train_ids_scored_as_label_ids_are_warned_of(run, tmp_path, capsys, words):
    """The train ids 0 (road) and 2 are other label ids that are not evaluated. Train id 8 is sidewalk's label id."""
    train_ids = [0, 2] if words.startswith('ids') else [8, 8]
    city(tmp_path, [train_ids], [[LABELS.index('road'), LABELS.index('vegetation')]])
    run('cityscapes')
    said = capsys.readouterr().err
    assert words in said and said.endswith('--dataset cityscapes_train_ids\n')
    city(tmp_path, [[LABELS.index('road'), LABELS.index('vegetation')]], [[LABELS.index('road'), LABELS.index('vegetation')]])
    run('cityscapes')
    assert 'warning' not in capsys.readouterr().err


def test_label_ids_scored_as_train_ids_are_refused(run, tmp_path):
    """The message names the data set to give instead."""
    city(tmp_path, [[7, 26]], [[7, 26]])
    with pytest.raises(UserError, match='has label 26 .*classes are 0-18; .*: --dataset cityscapes$'):
        run('cityscapes_train_ids')


@pytest.mark.parametrize(
    ('name', 'image', 'truth'),
    [
        ('cityscapes_train_ids', 'aachen_000000_000019_leftImg8bit', 'aachen/aachen_000000_000019_gtFine_labelIds'),
        ('pascal_voc', '2007_000033', '2007_000033'),
        ('camvid', '0001TP_006690', '0001TP_006690_L'),
        ('kitti', '000000', 'Validation_07/GT/000000'),
        ('kitti', 'Validation_07_000000', 'Validation_07/GT/000000'),
        ('toy', 'test_000', 'test_000_label'),
    ],
)
def test_what_predict_and_test_write_is_read(run, tmp_path, capsys, name, image, truth):
    """The coloured picture beside a map and the pictures below it do not count."""
    write(tmp_path / 'pred' / f'{image}.png', [[0, 1]])
    write(tmp_path / 'pred' / 'pictures' / f'{image}.png', [[1, 1]])
    write(tmp_path / 'pred' / f'{image}_color.png', np.zeros((1, 2, 3)))
    write(tmp_path / 'gt' / f'{truth}.png', [[7, 8]] if 'labelIds' in truth else [[0, 1]])
    assert run(name)['mean_iou'] == 1
    assert not capsys.readouterr().err


def test_maps_without_a_ground_truth_are_named(run, tmp_path, capsys):
    """They are not named if --list says which images count."""
    for name in 'abc':
        write(tmp_path / 'pred' / f'{name}.png', [[0, 1]])
    write(tmp_path / 'gt' / 'b.png', [[0, 1]])
    assert run('pascal_voc')['images'] == 1
    assert f'2 maps belong to no ground truth in {tmp_path / "gt"} and do not count' in capsys.readouterr().err
    (tmp_path / 'list.txt').write_text('b\n')
    run('pascal_voc', '--list', str(tmp_path / 'list.txt'))
    assert not capsys.readouterr().err


def test_images_beside_labels_are_not_taken_for_labels(run, tmp_path):
    """In the drawn scenes, test_000.png is an image and test_000_label.png is its label."""
    write(tmp_path / 'pred' / 'test_000.png', [[0, 1]])
    write(tmp_path / 'gt' / 'test_000_label.png', [[0, 1]])
    write(tmp_path / 'gt' / 'test_000.png', np.zeros((1, 2, 3)))
    assert run('toy')['mean_iou'] == 1


@pytest.mark.parametrize('name', ['pascal_voc', 'camvid', 'kitti', 'toy'])
def test_random_maps_against_counting(run, tmp_path, name):
    """Each class's IoU, from palette and grey files with void pixels, is that of a plain loop."""
    rng, classes = np.random.default_rng(1), dataset(name).num_classes
    both, either = np.zeros(classes), np.zeros(classes)
    for image in range(3):
        truth, prediction = rng.integers(0, classes, (2, 13, 17))
        truth[rng.random(truth.shape) < 0.1] = 255
        write(tmp_path / 'gt' / f'{image}.png', truth, 'P')
        write(tmp_path / 'pred' / f'{image}.png', prediction, 'LP'[image % 2])
        for row, column in product(range(13), range(17)):
            true, given = truth[row, column], prediction[row, column]
            if true != 255:
                both[true] += true == given
                for label in {true, given}:
                    either[label] += 1
    scores = run(name)
    np.testing.assert_allclose(list(scores['class_iou'].values()), both / either, rtol=1e-15)
    assert scores['mean_iou'] == pytest.approx((both / either).mean(), rel=1e-15)
    assert list(scores['class_iou']) == list(dataset(name).classes) and scores['images'] == 3


def test_a_class_that_does_not_occur_has_no_score(run, tmp_path, capsys):
    """It is null in the file, a dash in the table, and not in the mean; its name is printed."""
    write(tmp_path / 'gt' / 'a.png', [[0, 0, 1]])
    write(tmp_path / 'pred' / 'a.png', [[0, 1, 1]])
    scores = run('pascal_voc')
    assert scores['mean_iou'] == 0.5 and scores['class_iou']['bicycle'] is None and len(scores['absent_classes']) == 19
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines()]
    assert ['background', '50.0'] in rows and ['bicycle', '-'] in rows and ['mean', 'IoU', '50.0'] in rows
    assert 'left out of the mean: bicycle, ' in said


def test_official_camvid_colours(run, tmp_path):
    """<id>_L.png has the colours of the 32 classes; here those of Building, Car and Void."""
    write(tmp_path / 'gt' / 'x_L.png', [[(128, 0, 0), (64, 0, 128), (0, 0, 0)]])
    write(tmp_path / 'pred' / 'x.png', [[0, 0, 5]])
    scores = run('camvid', '--gt-encoding', 'camvid_colours')
    assert (scores['class_iou']['Building'], scores['class_iou']['Car'], scores['pixels']) == (0.5, 0, 2)


def test_a_list_says_which_images_count(run, tmp_path):
    """VOC needs it: its folder of labels holds train and val. An id without a file is refused."""
    for name, labels in (('a', [[0, 1]]), ('b', [[1, 1]]), ('ab', [[2, 2]])):
        write(tmp_path / 'gt' / f'{name}.png', labels)
    write(tmp_path / 'pred' / 'a.png', [[0, 0]])
    write(tmp_path / 'pred' / 'b.png', [[1, 1]])
    (tmp_path / 'val.txt').write_bytes(b'a\r\nb\r\n')
    scores = run('pascal_voc', '--list', str(tmp_path / 'val.txt'))
    assert (scores['images'], scores['pixels'], scores['class_iou']['background']) == (2, 4, 0.5)
    with pytest.raises(UserError, match=r'1 of 3 ground-truth files .*ab.png; to score some of them only, give --list'):
        run('pascal_voc')
    (tmp_path / 'val.txt').write_text('a\nc\n')
    with pytest.raises(UserError, match='1 of 2 images listed have no ground truth in .*gt, the first is c'):
        run('pascal_voc', '--list', str(tmp_path / 'val.txt'))


def test_linked_folders_are_searched_and_hidden_files_are_not(run, tmp_path):
    """A link to the folder itself is followed once."""
    write(tmp_path / 'elsewhere' / 'a.png', [[0, 1]])
    write(tmp_path / 'gt' / 'b.png', [[0, 1]])
    (tmp_path / 'gt' / 'linked').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'gt' / 'round').symlink_to(tmp_path / 'gt')
    (tmp_path / 'gt' / '._b.png').write_bytes(b'\0\5\x16\7')
    for name in ('a', 'b'):
        write(tmp_path / 'pred' / f'{name}.png', [[0, 1]])
    assert run('pascal_voc')['images'] == 2


@pytest.mark.parametrize('name', ['pascal_voc', 'cityscapes_train_ids'])
def test_names_that_begin_alike_are_told_apart(run, tmp_path, name):
    """In VOC a prediction has the whole name of its image, in Cityscapes it begins with the name of only one image."""
    suffix = '.png' if name == 'pascal_voc' else '_gtFine_labelTrainIds.png'
    for number, image in enumerate(('x_1', 'x_10', 'x_2', 'w')):
        write(tmp_path / 'gt' / f'{image}{suffix}', [[number]])
        write(tmp_path / 'pred' / f'{image}{".png" if name == "pascal_voc" else "_mine.png"}', [[number]])
    if name == 'pascal_voc':
        assert run(name)['mean_iou'] == 1
    else:
        with pytest.raises(UserError, match='x_1_gtFine_labelTrainIds.png has 2 predictions'):
            run(name)


REFUSED = {
    'missing': ([('gt/b.png', [[0]])], '1 of 2 ground-truth files have no prediction in .*; the first is .*b.png'),
    'another size': (
        [('gt/a.png', [[0, 1, 1]])],
        'pred/a.png against .*gt/a.png: the prediction is 1x2, the ground truth is 1x3',
    ),
    'no such class': ([('pred/a.png', [[0, 21]])], 'a.png: the prediction has label 21 at row 0, column 1; classes are 0-20'),
    'no such class in the truth': ([('gt/a.png', [[0, 21]])], 'a.png: the ground truth has label 21 at row 0, column 1'),
    'void predicted': ([('pred/a.png', [[0, 255]])], 'a.png: the prediction has label 255 at row 0, column 1'),
    'a colour picture': (
        [('pred/a.png', np.zeros((1, 2, 3)))],
        r'a.png is a colour picture \(mode RGB\) but must be an index PNG',
    ),
    'two truths': ([('gt/x/a.png', [[0, 1]])], 'are ground truth of the same image; keep one'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_cannot_be_scored_is_refused(run, tmp_path, case):
    """The message names the file."""
    files, message = REFUSED[case]
    for name, labels in [('gt/a.png', [[0, 1]]), ('pred/a.png', [[0, 1]]), *files]:
        write(tmp_path / name, labels)
    with pytest.raises(UserError, match=message):
        run('pascal_voc')


@pytest.mark.parametrize('fault', ['half is missing', 'the end is missing', 'a byte is flipped'])
def test_a_damaged_map_is_refused(run, tmp_path, fault):
    """OpenCV would fill the missing part, and would not check the sums inside a PNG."""
    for folder in ('gt', 'pred'):
        write(tmp_path / folder / 'a.png', np.random.default_rng(0).integers(0, 21, (50, 60)))
    content = bytearray((tmp_path / 'pred' / 'a.png').read_bytes())
    half = len(content) // 2
    content[half] ^= 0xFF if 'flipped' in fault else 0
    kept = {'half is missing': half, 'the end is missing': int(0.99 * len(content))}.get(fault, len(content))
    (tmp_path / 'pred' / 'a.png').write_bytes(content[:kept])
    with pytest.raises(UserError, match='pred/a.png cannot be read'):
        run('pascal_voc')


def png(labels, filters, height=None):
    """PNG bytes of a grey map whose row y has filter number filters[y] (PNG specification, section 9), by plain loops.

    The head says `height` rows. There is no filter 5; it does here what filter 0 does.
    """
    raw = bytearray()
    for y, row in enumerate(labels.tolist()):
        above = labels[y - 1].tolist() if y else [0] * len(row)
        raw.append(filters[y])
        for x, value in enumerate(row):
            a, b, c = (row[x - 1], above[x], above[x - 1]) if x else (0, above[x], 0)
            nearest = min((a, b, c), key=lambda guess: abs(a + b - c - guess))
            raw.append((value - (0, a, b, (a + b) // 2, nearest)[filters[y] % 5]) % 256)
    head = struct.pack('>IIBBBBB', labels.shape[1], height or len(labels), 8, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + block(b'IHDR', head) + block(b'IDAT', zlib.compress(bytes(raw))) + block(b'IEND', b'')


def block(kind, data):
    """A chunk of a PNG."""
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


@pytest.mark.parametrize('number', range(5))
def test_every_filter_of_png(tmp_path, number):
    """A file has one filter in all rows, or all filters in turn. Pillow reads the same values."""
    labels = np.random.default_rng(number).integers(0, 256, (9, 7), np.uint8)
    for filters in ([number] * 9, [(number + y) % 5 for y in range(9)]):
        (tmp_path / 'a.png').write_bytes(png(labels, filters))
        np.testing.assert_array_equal(read_map(tmp_path / 'a.png'), labels)
        np.testing.assert_array_equal(Image.open(tmp_path / 'a.png'), labels)


@pytest.mark.parametrize(
    'content',
    [png(np.zeros((2, 3), np.uint8), [5, 0]), png(np.zeros((1, 3), np.uint8), [0], height=2)],
    ids=['unknown filter', 'too few rows'],
)
def test_a_png_that_contradicts_itself_is_refused(tmp_path, content):
    """It has an unknown filter, or fewer rows than its head says."""
    (tmp_path / 'a.png').write_bytes(content)
    with pytest.raises(UserError, match='a.png cannot be read'):
        read_map(tmp_path / 'a.png')


def test_maps_are_read_and_counted_without_compiled_code_too(tmp_path, monkeypatch):
    """A map one pixel wide, with a palette and in grey."""
    labels = np.random.default_rng(0).integers(0, 2, (31, 1), np.uint8)
    write(tmp_path / 'palette.png', labels, 'P')
    write(tmp_path / 'grey.png', labels)
    for _ in range(2):
        for path in tmp_path.iterdir():
            np.testing.assert_array_equal(read_map(path), labels)
        assert scoring.count_pairs(labels, 1 - labels)[:2, :2].tolist() == [[0, (labels == 0).sum()], [labels.sum(), 0]]
        monkeypatch.setattr(counting, 'library', lambda source: None)
        monkeypatch.setattr(label_png, 'library', lambda source: None)


@pytest.mark.parametrize('run_length', [1, 5, 8, 30])
def test_runs_of_pixels_are_counted_one_by_one(tmp_path, run_length):
    """The compiled code takes several equal pixels at once: runs may be shorter or longer and begin anywhere."""
    rng = np.random.default_rng(run_length)
    truth, prediction = (
        np.repeat(rng.integers(0, 256, 200, np.uint8), run_length)[3 : 3 + 190].reshape(10, 19) for _ in range(2)
    )
    for name, labels in (('truth', truth), ('prediction', prediction)):
        (tmp_path / f'{name}.png').write_bytes(png(labels, [1] * 10))
        np.testing.assert_array_equal(read_map(tmp_path / f'{name}.png'), labels)
    expected = np.zeros((256, 256), int)
    for pair in zip(truth.flat, prediction.flat, strict=True):
        expected[pair] += 1
    np.testing.assert_array_equal(scoring.count_pairs(truth, prediction), expected)


def test_large_counts_are_exact():
    """float32 could not count so many pixels one by one."""
    labels = np.zeros((3, 1 << 23), np.uint8)
    labels[0, 0] = 1
    assert scoring.confusion(labels, labels, 2).tolist() == [[3 * (1 << 23) - 1, 0], [0, 1]]
