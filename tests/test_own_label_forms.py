"""Own labels in the formats of other tools. The test files follow the formats as the tools publish them."""

import base64
import io
import json

import mini_archives
import numpy as np
import pytest
from mini_archives import noise, save
from PIL import Image
from pycocotools import mask as coco_mask

from dataset_prep import custom
from dataset_prep.datasets import read_own
from dataset_prep.records import load_split, read_label
from tools.support.errors import UserError

SIZE_HW = 40, 50
CLASSES = 'background\nroad\ncar\n'
COLOURS = {'road': (10, 20, 30), 'car': (40, 50, 60), 'bird': (70, 80, 90)}
VALUES = {'road': 1, 'car': 2, 'bird': 255}  # ids by CLASSES; bird is left out


# The two images: a road with a car on it and a bird, and a road alone. Boxes (top, bottom, left, right), later ones on top.
BOXES = {'a': {'road': (10, 30, 5, 45), 'car': (12, 18, 8, 20), 'bird': (0, 4, 0, 6)}, 'b': {'road': (20, 40, 0, 50)}}


def label_of(boxes):
    """The label with these boxes."""
    label = np.zeros(SIZE_HW, np.uint8)
    for name, (top, bottom, left, right) in boxes.items():
        label[top:bottom, left:right] = VALUES[name]
    return label


TRUTH = {image: label_of(boxes) for image, boxes in BOXES.items()}


def images(folder, *names, suffix='.jpg'):
    """Write images of SIZE_HW, by default those of TRUTH."""
    for seed, name in enumerate(names or TRUTH):
        save(folder / f'{name}{suffix}', noise(seed, *SIZE_HW, 3))


def corners(top, bottom, left, right):
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def shape(name, points, kind='polygon', **more):
    return {'label': name, 'points': points, 'group_id': None, 'shape_type': kind, 'flags': {}, **more}


def labelme_file(path, *shapes, size_hw=SIZE_HW):
    """Write a file of labelme 5, without the image in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        'version': '5.4.1', 'flags': {}, 'shapes': list(shapes), 'imagePath': f'{path.stem}.jpg', 'imageData': None,
        'imageHeight': size_hw[0], 'imageWidth': size_hw[1],
    }  # fmt: skip
    path.write_text(json.dumps(content, indent=2))


def labelme(data):
    """JSON files beside the images. labelme's polygons include their right and lower edges."""
    images(data)
    for image, boxes in BOXES.items():
        outlines = {name: corners(top, bottom - 1, left, right - 1) for name, (top, bottom, left, right) in boxes.items()}
        labelme_file(data / f'{image}.json', *(shape(name, points) for name, points in outlines.items()))


def labelme_apart(data):
    """labelme with images and JSON files in folders of their own."""
    labelme(data)
    for kind, pattern in (('images', '*.jpg'), ('labels', '*.json')):
        (data / kind).mkdir()
        for path in list(data.glob(pattern)):
            path.rename(data / kind / path.name)


def coco_file(path, objects):
    """Write an annotation file. `objects` by image: pairs of a class and its segmentation, or a dict of members."""
    names = sorted({name for pairs in objects.values() for name, _ in pairs} | {'road'})

    def annotation(name, members):
        return {'category_id': names.index(name) + 1, **(members if isinstance(members, dict) else {'segmentation': members})}

    annotations = {image: [annotation(*pair) for pair in pairs] for image, pairs in objects.items()}
    mini_archives.coco_file(path, dict(enumerate(names, 1)), annotations)


def outline(top, bottom, left, right):
    """A polygon of COCO along the edges of pixels."""
    return [sum(corners(top, bottom, left, right), [])]


def outlines():
    """The objects of BOXES as polygons, the smaller ones first."""
    return {image: [(name, outline(*box)) for name, box in [*boxes.items()][::-1]] for image, boxes in BOXES.items()}


def coco(data):
    """Polygons, and a bird in run lengths."""
    images(data / 'images')
    bird = {'segmentation': {'size': [40, 50], 'counts': [0, 4, 36, 4, 36, 4, 36, 4, 36, 4, 36, 4, 1796]}}
    objects = outlines()
    objects['a'][0] = ('bird', bird)
    coco_file(data / 'annotations' / 'instances.json', objects)


def cvat_coco(data):
    """An export of CVAT: a subset named default, and a brush stroke as a crowd in run lengths."""
    images(data / 'images' / 'default')
    painted = {'iscrowd': 1, 'segmentation': {'size': [40, 50], 'counts': [20, *[20] * 99]}}
    coco_file(data / 'annotations' / 'instances_default.json', outlines() | {'b': [('road', painted)]})


def compressed_coco(data):
    """Compressed run lengths, written by pycocotools."""
    images(data)
    objects = {}
    for image, boxes in BOXES.items():
        masks = {name: np.asfortranarray(TRUTH[image] == VALUES[name], np.uint8) for name in boxes}
        codes = {name: coco_mask.encode(mask) for name, mask in masks.items()}
        objects[image] = [(name, {'segmentation': {**code, 'counts': code['counts'].decode()}}) for name, code in codes.items()]
    coco_file(data / '_annotations.coco.json', objects)


def coloured(label):
    """A label as RGB in COLOURS; the background is black."""
    picture = np.zeros((*SIZE_HW, 3), np.uint8)
    for name, colour in COLOURS.items():
        picture[label == VALUES[name]] = colour
    return picture


def cvat_masks(data):
    """CVAT's "Segmentation mask 1.1" with images."""
    images(data / 'JPEGImages')
    for name, label in TRUTH.items():
        save(data / 'SegmentationClass' / f'{name}.png', coloured(label))
        save(data / 'SegmentationObject' / f'{name}.png', noise(9, *SIZE_HW, 3))
    lines = [f'{name}:{",".join(map(str, colour))}::' for name, colour in {'background': (0, 0, 0), **COLOURS}.items()]
    (data / 'labelmap.txt').write_text('# label:color_rgb:parts:actions\n' + '\n'.join(lines) + '\n')
    lists = data / 'ImageSets' / 'Segmentation'
    lists.mkdir(parents=True)
    (lists / 'default.txt').write_text('a\nb\n')


def colour_masks(data):
    """RGB masks with a table of names and colours."""
    images(data / 'images')
    for name, label in TRUTH.items():
        save(data / 'labels' / f'{name}.png', coloured(label))
    rows = [f'{name},{red},{green},{blue}' for name, (red, green, blue) in COLOURS.items()]
    (data / 'class_dict.csv').write_text('name,r,g,b\n' + '\n'.join(rows) + '\n')


FORMS = {
    labelme: "labelme's JSON files", labelme_apart: "labelme's JSON files", coco: "annotations in COCO's form",
    cvat_coco: "annotations in COCO's form", compressed_coco: "annotations in COCO's form",
    cvat_masks: 'masks in the colours of labelmap.txt', colour_masks: 'masks in the colours of class_dict.csv',
}  # fmt: skip


@pytest.fixture
def data(tmp_path):
    """The folder of the user's data."""
    return tmp_path / 'in'


def prepare(data, *options, classes=CLASSES, split='train'):
    """Prepare `data` with the list of classes; returns the labels by image."""
    (data.parent / 'classes.txt').write_text(classes)
    out = data.parent / 'out'
    words = ['--data', data, '--out', out, '--classes', data.parent / 'classes.txt', '--name', 'mine']
    custom.main([*map(str, words), '--lists-only', '--val-fraction', '0', *options])
    return {record.id: read_label(record) for record in load_split(out, split)}


def check_error(data, words, *options, **classes):
    """prepare() fails with a message that matches `words`."""
    with pytest.raises(UserError, match=words):
        prepare(data, *options, **classes)


@pytest.mark.parametrize('form', FORMS)
def test_labels_of_each_form_are_read(data, form, capsys):
    """Names decide the ids. The class left out is 255, uncovered pixels are background. One line names the form."""
    form(data)
    found = prepare(data, '--leave-out', 'bird')
    assert found.keys() == TRUTH.keys()
    for name, label in TRUTH.items():
        np.testing.assert_array_equal(found[name], label, name)
    said = f'{data}: {FORMS[form]} (2 images); pixels that no class covers are background'
    assert said in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize('form', FORMS)
def test_name_that_is_no_class_is_an_error_with_its_file(data, form):
    form(data)
    check_error(data, r"the labels contain names that are not classes: bird \(in .*\); .* ignored: LEAVE_OUT='bird'")
    assert not (data.parent / 'out').exists()


def test_without_a_list_of_classes_the_error_names_those_in_the_labels(data):
    labelme(data)
    words = '--classes is not given: make lmdb-custom DATA=FOLDER CLASSES=FILE.*; the labels have the names road, car, bird: list'
    with pytest.raises(UserError, match=words):
        custom.main(['--data', str(data)])


@pytest.mark.parametrize('form', FORMS)
def test_uncovered_pixels_are_ignored_if_there_is_no_class_background(data, form, capsys):
    form(data)
    label = prepare(data, '--leave-out', 'bird', classes='car\nroad\n')['a']
    np.testing.assert_array_equal(label, np.array([255, 1, 0, *[255] * 253], np.uint8)[TRUTH['a']])
    assert 'pixels that no class covers are ignored (255), as no class is called background' in capsys.readouterr().out


@pytest.mark.parametrize('as_colours', [False, True])
def test_class_left_out_of_label_pngs_is_ignored_and_later_ids_move_up(data, as_colours):
    """PNGs with ids 0 sky, 1 road, 2 car, or in their colours. road is left out."""
    images(data / 'images')
    ids = np.random.default_rng(0).integers(0, 3, SIZE_HW).astype(np.uint8)
    ids[0, 0] = 255
    palette = np.array([(1, 1, 1), (2, 2, 2), (3, 3, 3), *[(0, 0, 0)] * 253], np.uint8)
    for name in TRUTH:
        save(data / 'labels' / f'{name}.png', palette[ids] if as_colours else ids)
    label = prepare(data, '--leave-out', 'road', classes='sky 1 1 1\nroad 2 2 2\ncar 3 3 3\n')['a']
    np.testing.assert_array_equal(label, np.array([0, 255, 1, *[255] * 253], np.uint8)[ids])
    row = read_own(data.parent / 'out')
    assert (row.classes, row.palette) == (('sky', 'car'), ((1, 1, 1), (3, 3, 3)))


@pytest.mark.parametrize(
    ('left_out', 'fault'),
    [('birds', r'--leave-out birds .*did you mean bird\?'), ('bird,car,road', '--leave-out leaves 1 classes of 3')],
)
def test_wrong_leave_out_is_refused(data, left_out, fault):
    labelme(data)
    check_error(data, fault, '--leave-out', left_out, classes=CLASSES if left_out != 'birds' else CLASSES + 'bird')


# labelme


def png(mask):
    """A mask in labelme's encoding."""
    content = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(content, 'PNG')
    return base64.b64encode(content.getvalue()).decode()


def test_every_kind_of_labelmes_shapes_is_drawn(data):
    """Boxes and discs by hand: a rectangle from its lower right corner, a point of radius 5, a line of width 10, a mask."""
    mask = np.array([[1, 0], [1, 1], [0, 1]], bool)
    images(data, 'a', 'b')
    labelme_file(data / 'b.json')
    labelme_file(
        data / 'a.json',
        shape('road', [[9, 4], [2, 1]], 'rectangle'),
        shape('car', [[20, 8], [20, 12]], 'circle'),
        shape('car', [[40, 8]], 'point'),
        shape('road', corners(30, 33, 40, 44), 'oriented_rectangle'),
        shape('road', [[5, 25], [15, 25]], 'line'),
        shape('car', [[30, 20], [31, 22]], 'mask', mask=png(mask)),
        shape('__ignore__', [[48.5, 38.5], [49.5, 38.5], [49.5, 39.5], [48.5, 39.5]]),
    )
    label = prepare(data)['a']
    assert (label[1:5, 2:10] == 1).all() and (label[:6, 10:12] == 0).all()
    rows, columns = np.mgrid[:40, :50]
    for (x, y), radius in (((20, 8), 4), ((40, 8), 5)):
        distance = np.hypot(rows - y, columns - x)
        around = (distance > radius + 1) & (distance < radius + 3)
        assert (label[distance <= radius - 0.5] == 2).all() and (label[around] == 0).all()
    assert (label[21:29, 6:14] == 1).all() and (label[32:, 5:16] == 0).all()
    np.testing.assert_array_equal(label[20:23, 30:32], 2 * mask)
    assert (label[30:34, 40:45] == 1).all()
    assert label[39, 49] == 255


@pytest.mark.parametrize(
    ('shapes', 'fault'),
    [
        ([shape('road', [[0, 0], [9, 9]])], 'is not a complete JSON file of labelme .*shape 1, road, is a polygon of 2 points'),
        ([shape('road', [[0, 0]], 'cuboid')], '.*shape 1, road, is a cuboid; understood are polygon, rectangle, '),
        ([shape('road', [[0, 0], [9, float('nan')], [9, 9]])], '.*shape 1, road, has points that are far off or no pairs of num'),
        ([shape('road', [[0, 0], [9, 1e300], [9, 9]])], '.*shape 1, road, has points that are far off'),
        ([shape('road', [[0, 0], ['9', 9], [9, 9]])], 'is not a complete JSON file of labelme'),
        ([{'points': []}], r"is not a complete JSON file of labelme \(KeyError\('label'\)\)"),
        ([shape('road', [[0, 0], [1, 1]], 'mask', mask='')], 'has a mask of road that cannot be decoded'),
        ([shape('road', [[0, 0], [5, 5]], 'mask', mask=png(np.ones((2, 2))))], 'has a mask of road that differs in size'),
    ],
)
def test_bad_file_of_labelme_is_named(data, shapes, fault):
    images(data)
    labelme_file(data / 'b.json')
    labelme_file(data / 'a.json', *shapes)
    check_error(data, f'1 of 2 .* cannot be used; nothing is written:\n.*a.json {fault}')


def test_file_of_labelme_for_an_image_of_another_size_is_named(data):
    labelme(data)
    labelme_file(data / 'a.json', size_hw=(50, 40))
    check_error(data, r'a.json was drawn for an image of 40x50 pixels \(width x height\), but its image has 50x40')


def test_incomplete_file_of_labelme_and_one_without_an_image_are_named(data):
    labelme_apart(data)
    labelme_file(data / 'labels' / 'c.json')
    check_error(data, '1 of 3 images cannot be used; .*:\n  no image of .*c.json', '--leave-out', 'bird')
    (data / 'labels' / 'c.json').write_text('{"version": "5.4.1", "flags": {}, "shapes": [{"label": "ro')
    check_error(data, '1 of 3 label files cannot be used; .*:\n  .*c.json is not a complete JSON file')


# COCO's form


def test_smaller_objects_lie_on_top_in_any_order(data):
    images(data)
    objects = [('car', outline(0, 5, 0, 5)), ('road', outline(0, 40, 0, 50)), ('car', outline(10, 12, 10, 12))]
    coco_file(data / 'a.json', {'a': objects, 'b': objects[::-1]})
    found = prepare(data)
    np.testing.assert_array_equal(found['a'], found['b'])
    assert np.bincount(found['a'].ravel()).tolist() == [0, 2000 - 25 - 4, 25 + 4]


def test_annotation_files_named_after_splits_are_the_splits(data):
    """Splits are found by the name of the file or of its folder. A file without objects lists images without labels."""
    for folder, name in (('train', 'a'), ('valid', 'b'), ('test', 'c')):
        images(data / folder, name)
    road = [('road', outline(0, 9, 0, 9))]
    coco_file(data / 'train' / '_annotations.coco.json', {'a': road})
    coco_file(data / 'valid' / '_annotations.coco.json', {'b': road})
    coco_file(data / 'instances_test2017.json', {'c': []})
    prepare(data, '--lists-only')
    splits = {split: [record.id for record in load_split(data.parent / 'out', split)] for split in ('train', 'val', 'test')}
    assert splits == {'train': ['a'], 'val': ['b'], 'test': ['c']}
    assert load_split(data.parent / 'out', 'test')[0].label is None


def test_boxes_without_outlines_are_counted_and_not_drawn(data, capsys):
    images(data)
    box = {'bbox': [0, 0, 9, 9], 'segmentation': []}
    objects = {'a': [('car', box), ('road', outline(0, 9, 0, 9))], 'b': [('car', {'bbox': [0, 0, 1, 1]})]}
    coco_file(data / 'x.json', objects)
    assert np.bincount(prepare(data)['a'].ravel()).tolist() == [2000 - 81, 81]
    assert f'note: 2 of 3 annotations in {data / "x.json"} have no outline' in capsys.readouterr().out
    coco_file(data / 'x.json', {'a': [('car', box)], 'b': []})
    check_error(data, 'x.json: no object has an outline, so there is nothing to learn')


def test_image_is_found_by_its_path_and_an_ambiguous_name_is_refused(data):
    """A path with Windows' separators is found. A name without a path fits any folder."""
    images(data / 'day', 'a')
    images(data / 'night', 'b')
    coco_file(data / 'x.json', {'day\\a': [('road', outline(0, 9, 0, 9))], 'b': []})
    assert prepare(data).keys() == {'a', 'b'}
    images(data / 'day', 'b')
    check_error(data, 'x.json lists b.jpg, which could be .*day/b.jpg or .*night/b.jpg')


BOX = outline(1, 5, 1, 5)


@pytest.mark.parametrize(
    ('objects', 'fault'),
    [
        ({'c': []}, '1 of 1 images cannot be used; .*:\n  .*x.json lists c.jpg, but there is no such file'),
        ({'a': [('road', [[1, 2, 3, 4, 5, 6, 7]])]}, 'an entry of annotations that is not in the form of COCO.*half a point'),
        ({'a': [('road', [[1, 2, 3, 4, 5, 1e9]])]}, 'far off or no number'),
        ({'a': [('road', {'segmentation': {'size': [40, 50], 'counts': [10]}})]}, 'run lengths of another size'),
        ({'a': [('road', {'segmentation': {'size': [40, 50], 'counts': '!!'}})]}, "run lengths with the character '!'"),
        ({'a': [('road', {'segmentation': {'size': [1, 10], 'counts': [10]}})]}, r'x.json: a.jpg has run lengths of \[1, 10\]'),
        ({'a': [('road', {'segmentation': BOX, 'image_id': 7})]}, 'an object of image 7 and category 1, which are'),
        ({'a': [('road', {'segmentation': BOX, 'category_id': 7})]}, 'an object of image 1 and category 7, which'),
        ({'a': [('road', {'segmentation': BOX, 'category_id': [7]})]}, 'an entry of annotations that is not in the form of COCO'),
        ({'a': [('road', {'segmentation': [1, 1, 5, 1, 5, 5]})]}, 'an entry of annotations that is not in the form of COCO'),
    ],
)
def test_bad_annotation_file_is_named(data, objects, fault):
    images(data)
    coco_file(data / 'x.json', objects)
    check_error(data, fault)


# Masks


def test_colour_that_the_palette_file_lacks_is_named_with_its_pixel(data):
    cvat_masks(data)
    picture = coloured(TRUTH['b'])
    picture[7, 9] = 1, 2, 3
    save(data / 'SegmentationClass' / 'b.png', picture)
    words = r'b.png has the colour RGB \(1, 2, 3\), which is neither one of the 4 classes of .*labelmap.txt .*\(row 7, column 9'
    check_error(data, words, '--leave-out', 'bird')


def test_masks_of_one_channel_hold_line_numbers_of_the_palette_file(data):
    """CVAT's documentation allows grey masks, and indices with a palette of the colours. 255 is ignored."""
    cvat_masks(data)
    places = np.array([0, 1, 2, *[3] * 253], np.uint8)[TRUTH['a']]  # background, road, car, bird
    picture = Image.fromarray(places[::-1].copy())
    picture.putpalette([part for colour in [(0, 0, 0), *COLOURS.values()] for part in colour])
    picture.save(data / 'SegmentationClass' / 'b.png')
    places[-1, -1] = 255
    save(data / 'SegmentationClass' / 'a.png', places)
    found = prepare(data, '--leave-out', 'bird')
    np.testing.assert_array_equal(found['b'], TRUTH['a'][::-1])
    assert found['a'][-1, -1] == 255
    found['a'][-1, -1] = TRUTH['a'][-1, -1]
    np.testing.assert_array_equal(found['a'], TRUTH['a'])


def test_lists_of_cvat_are_followed_unless_there_are_lists_beside_the_images(data):
    cvat_masks(data)
    for folder, train, val in (('ImageSets/Segmentation', 'b', 'a'), ('.', 'a', 'b')):
        (data / folder / 'train.txt').write_text(f'{train}\n')
        (data / folder / 'val.txt').write_text(f'{val}\n')
        assert prepare(data, '--leave-out', 'bird', split='val').keys() == {val}


def test_palette_file_without_a_colour_is_refused(data):
    colour_masks(data)
    (data / 'class_dict.csv').unlink()
    (data / 'palette.txt').write_text('road 10 20 30\ncar\n')
    check_error(data, 'palette.txt line 2: car has no colour')


# Which form, and which labels are drawn


def test_two_forms_in_one_folder_are_refused(data):
    labelme_apart(data)
    save(data / 'labels' / 'a.png', TRUTH['b'])
    check_error(data, "holds labelme's JSON files and PNGs of ids, .*; move one of them out")


def test_other_json_files_are_ignored(data):
    """A list, two files nested far too deep, an incomplete file, a folder with such a name."""
    labelme(data)
    for name, text in (('list', '[1]'), ('deep', '[' * 100_000), ('dict', '{"a": ' * 100_000), ('cut', '{"a": [1,')):
        (data / f'{name}.json').write_text(text)
    (data / 'folder.json').mkdir()
    assert prepare(data, '--leave-out', 'bird').keys() == TRUTH.keys()


def test_folder_without_labels_is_refused(data):
    images(data / 'images')
    (data / 'notes.json').write_text('[1, 2]')
    check_error(data, 'no labels in .*/in: no PNGs in labels/ or SegmentationClass/, no JSON files of labelme')


def test_drawn_labels_are_kept_until_the_classes_change(data):
    labelme(data)
    prepare(data, '--leave-out', 'bird')
    path = data.parent / 'out' / 'drawn_labels' / 'a.png'
    drawn = path.stat().st_mtime_ns
    prepare(data, '--leave-out', 'bird')
    assert path.stat().st_mtime_ns == drawn
    assert (prepare(data, '--leave-out', 'car,bird')['a'] == 255).sum() == 6 * 12 + 4 * 6


def test_unreadable_image_does_not_stop_the_others(data):
    """The lists are written, and the error names the image."""
    labelme(data)
    (data / 'a.jpg').write_bytes(b'no image')
    check_error(data, '1 of 2 images cannot be used; .*:\n  .*a.jpg cannot be read', '--leave-out', 'bird')
    assert (data.parent / 'out' / 'train.json').is_file()
