"""Labels of one's own in the forms of other tools: exports written by hand as the tools publish their formats, and read."""

import base64
import io
import json

import numpy as np
import pytest
from mini_archives import noise, save
from PIL import Image
from pycocotools import mask as coco_mask

from dataset_prep import custom
from dataset_prep.datasets import read_own
from dataset_prep.records import load_split, read_label
from tools.support.errors import UserError

# pycocotools and NumPy 2 disagree about a keyword, without effect.
pytestmark = pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')
SIZE_HW = 40, 50
CLASSES = 'background\nroad\ncar\n'
COLOURS = {'road': (10, 20, 30), 'car': (40, 50, 60), 'bird': (70, 80, 90)}
VALUES = {'road': 1, 'car': 2, 'bird': 255}  # by CLASSES, where bird is left out


def label_of(**boxes):
    """A label of background with boxes (top, bottom, left, right) of classes, later ones on top."""
    label = np.zeros(SIZE_HW, np.uint8)
    for name, (top, bottom, left, right) in boxes.items():
        label[top:bottom, left:right] = VALUES[name]
    return label


# Two images of each form: one of a road with a car on it and a bird, one of a road alone.
TRUTH = {'a': label_of(road=(10, 30, 5, 45), car=(12, 18, 8, 20), bird=(0, 4, 0, 6)), 'b': label_of(road=(20, 40, 0, 50))}


def images(folder, *names, suffix='.jpg'):
    """Images of SIZE_HW."""
    for seed, name in enumerate(names or TRUTH):
        save(folder / f'{name}{suffix}', noise(seed, *SIZE_HW, 3))


def corners(top, bottom, left, right):
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def shape(name, points, kind='polygon', **more):
    return {'label': name, 'points': points, 'group_id': None, 'shape_type': kind, 'flags': {}, **more}


def labelme_file(path, *shapes, size_hw=SIZE_HW):
    """As labelme 5 writes it, without the picture in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        'version': '5.4.1', 'flags': {}, 'shapes': list(shapes), 'imagePath': f'{path.stem}.jpg', 'imageData': None,
        'imageHeight': size_hw[0], 'imageWidth': size_hw[1],
    }  # fmt: skip
    path.write_text(json.dumps(content, indent=2))


def labelme(data):
    """JSON files beside the images, as labelme leaves them; its polygons take in their right and lower edges."""
    images(data)
    a = shape('road', corners(10, 29, 5, 44)), shape('car', corners(12, 17, 8, 19)), shape('bird', corners(0, 3, 0, 5))
    labelme_file(data / 'a.json', *a)
    labelme_file(data / 'b.json', shape('road', [[0, 20], [49, 39]], 'rectangle'))


def labelme_apart(data):
    """The same with the JSON files in a folder of their own."""
    labelme(data)
    for kind, pattern in (('images', '*.jpg'), ('labels', '*.json')):
        (data / kind).mkdir()
        for path in list(data.glob(pattern)):
            path.rename(data / kind / path.name)


def coco_file(path, objects):
    """An annotation file: by image (class, segmentation or other members) pairs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = sorted({name for pairs in objects.values() for name, _ in pairs} | {'road'})
    annotations = [
        {
            'id': 10 * place + number, 'image_id': place, 'category_id': names.index(name) + 1, 'iscrowd': 0,
            **(members if isinstance(members, dict) else {'segmentation': members}),
        }
        for place, pairs in enumerate(objects.values(), 1)
        for number, (name, members) in enumerate(pairs)
    ]  # fmt: skip
    rows = [{'id': n, 'file_name': f'{name}.jpg', 'height': SIZE_HW[0], 'width': SIZE_HW[1]} for n, name in enumerate(objects, 1)]
    categories = [{'id': number, 'name': name, 'supercategory': ''} for number, name in enumerate(names, 1)]
    content = {'licenses': [], 'info': {}, 'categories': categories, 'images': rows, 'annotations': annotations}
    path.write_text(json.dumps(content))


def outline(top, bottom, left, right):
    """COCO's polygon along the edges of pixels."""
    return [sum(corners(top, bottom, left, right), [])]


def coco(data):
    """Polygons, and a bird painted in run lengths."""
    bird = {'segmentation': {'size': [40, 50], 'counts': [0, 4, 36, 4, 36, 4, 36, 4, 36, 4, 36, 4, 1796]}}
    images(data / 'images')
    a = ('car', outline(12, 18, 8, 20)), ('road', outline(10, 30, 5, 45)), ('bird', bird)
    coco_file(data / 'annotations' / 'instances.json', {'a': a, 'b': [('road', outline(20, 40, 0, 50))]})


def cvat_coco(data):
    """As CVAT exports: a subset named default, and what was painted with a brush as a crowd in run lengths."""
    images(data / 'images' / 'default')
    painted = {'iscrowd': 1, 'segmentation': {'size': [40, 50], 'counts': [20, *[20] * 99]}}
    a = ('road', outline(10, 30, 5, 45)), ('car', outline(12, 18, 8, 20)), ('bird', outline(0, 4, 0, 6))
    coco_file(data / 'annotations' / 'instances_default.json', {'a': a, 'b': [('road', painted)]})


def compressed_coco(data):
    """Run lengths compressed, as pycocotools writes them."""
    images(data)
    masks = {'a': {'road': TRUTH['a'] == 1, 'car': TRUTH['a'] == 2, 'bird': TRUTH['a'] == 255}, 'b': {'road': TRUTH['b'] == 1}}
    objects = {}
    for image, of_classes in masks.items():
        codes = {name: coco_mask.encode(np.asfortranarray(mask, np.uint8)) for name, mask in of_classes.items()}
        objects[image] = [(name, {'segmentation': {**code, 'counts': code['counts'].decode()}}) for name, code in codes.items()]
    coco_file(data / '_annotations.coco.json', objects)


def coloured(label):
    """A label in COLOURS; black where it is background."""
    picture = np.zeros((*SIZE_HW, 3), np.uint8)
    for name, colour in COLOURS.items():
        picture[label == VALUES[name]] = colour
    return picture


def cvat_masks(data):
    """CVAT's "Segmentation mask 1.1" with its images."""
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


def prepare(folder, *options, classes=CLASSES, split='train'):
    """The labels that come out of `folder`/in, by image."""
    (folder / 'classes.txt').write_text(classes)
    words = ['--data', folder / 'in', '--out', folder / 'out', '--classes', folder / 'classes.txt', '--name', 'mine']
    custom.main([*map(str, words), '--lists-only', '--val-fraction', '0', *options])
    return {record.id: read_label(record) for record in load_split(folder / 'out', split)}


@pytest.mark.parametrize('form', FORMS)
def test_labels_of_each_form_are_read(tmp_path, form, capsys):
    """Names decide the ids, what is left out is ignored, the rest is background; which form it is, is said in one line."""
    form(tmp_path / 'in')
    found = prepare(tmp_path, '--leave-out', 'bird')
    assert found.keys() == TRUTH.keys()
    for name, label in TRUTH.items():
        np.testing.assert_array_equal(found[name], label, name)
    said = f'{tmp_path / "in"}: {FORMS[form]} (2 images); pixels that no class covers are background'
    assert said in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize('form', FORMS)
def test_a_name_that_is_no_class_is_an_error_with_its_file(tmp_path, form):
    form(tmp_path / 'in')
    with pytest.raises(
        UserError,
        match=r'the labels contain names that are not classes: bird \(in .*\); .* ignored: '
        r"LEAVE_OUT='bird'",
    ):
        prepare(tmp_path)
    assert not (tmp_path / 'out').exists()


def test_without_a_list_of_classes_the_names_are_said(tmp_path):
    """So that one can be written."""
    labelme(tmp_path)
    with pytest.raises(UserError, match='--classes is not given: .*; the labels have the names road, car, bird: list those'):
        custom.main(['--data', str(tmp_path)])


@pytest.mark.parametrize('form', FORMS)
def test_without_a_class_background_uncovered_pixels_are_ignored(tmp_path, form, capsys):
    form(tmp_path / 'in')
    label = prepare(tmp_path, '--leave-out', 'bird', classes='car\nroad\n')['a']
    wanted = np.array([255, 1, 0], np.uint8)[np.minimum(TRUTH['a'], 2)]
    wanted[TRUTH['a'] == 255] = 255
    np.testing.assert_array_equal(label, wanted)
    assert 'pixels that no class covers are ignored (255), as no class is called background' in capsys.readouterr().out


@pytest.mark.parametrize('as_colours', [False, True])
def test_a_class_left_out_of_pictures_is_ignored_and_the_next_move_up(tmp_path, as_colours):
    """PNGs of ids 0 sky, 1 road, 2 car, or in their colours, without road."""
    images(tmp_path / 'in' / 'images')
    ids = np.random.default_rng(0).integers(0, 3, SIZE_HW).astype(np.uint8)
    ids[0, 0] = 255
    palette = np.zeros((256, 3), np.uint8)
    palette[:3] = (1, 1, 1), (2, 2, 2), (3, 3, 3)
    for name in TRUTH:
        save(tmp_path / 'in' / 'labels' / f'{name}.png', palette[ids] if as_colours else ids)
    label = prepare(tmp_path, '--leave-out', 'road', classes='sky 1 1 1\nroad 2 2 2\ncar 3 3 3\n')['a']
    np.testing.assert_array_equal(label, np.array([0, 255, 1, *[255] * 253], np.uint8)[ids])
    row = read_own(tmp_path / 'out')
    assert (row.classes, row.palette) == (('sky', 'car'), ((1, 1, 1), (3, 3, 3)))


@pytest.mark.parametrize(
    ('left_out', 'fault'),
    [('birds', r'--leave-out birds .*did you mean bird\?'), ('bird,car,road', '--leave-out leaves 1 classes of 3')],
)
def test_faults_of_leave_out(tmp_path, left_out, fault):
    labelme(tmp_path / 'in')
    with pytest.raises(UserError, match=fault):
        prepare(tmp_path, '--leave-out', left_out, classes=CLASSES if left_out != 'birds' else CLASSES + 'bird')


# labelme


def png(mask):
    """A mask as labelme stores it."""
    content = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(content, 'PNG')
    return base64.b64encode(content.getvalue()).decode()


def test_every_kind_of_labelmes_shapes_is_drawn(tmp_path):
    """Boxes and discs by hand: a rectangle from its lower right corner, a point of radius 5, a line 10 wide, masks cut off."""
    mask = np.array([[1, 0], [1, 1], [0, 1]], bool)
    images(tmp_path / 'in', 'a', 'b')
    labelme_file(tmp_path / 'in' / 'b.json')
    labelme_file(
        tmp_path / 'in' / 'a.json',
        shape('road', [[9, 4], [2, 1]], 'rectangle'),
        shape('car', [[20, 8], [20, 12]], 'circle'),
        shape('car', [[40, 8]], 'point'),
        shape('road', corners(30, 33, 40, 44), 'oriented_rectangle'),
        shape('road', [[5, 25], [15, 25]], 'line'),
        shape('car', [[30, 20], [31, 22]], 'mask', mask=png(mask)),
        shape('__ignore__', [[48.5, 38.5], [49.5, 38.5], [49.5, 39.5], [48.5, 39.5]]),
    )
    label = prepare(tmp_path)['a']
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
        (
            [shape('road', [[0, 0], [9, 9]])],
            'a.json is not a complete JSON file of labelme .*shape 1, road, is a polygon of 2 points',
        ),
        ([shape('road', [[0, 0]], 'cuboid')], 'shape 1, road, is a cuboid; understood are polygon, rectangle, '),
        (
            [shape('road', [[0, 0], [9, float('nan')], [9, 9]])],
            'shape 1, road, has points that are far off or no pairs of numbers',
        ),
        ([shape('road', [[0, 0], [9, 1e300], [9, 9]])], 'shape 1, road, has points that are far off'),
        ([shape('road', [[0, 0], ['9', 9], [9, 9]])], 'a.json is not a complete JSON file of labelme'),
        ([{'points': []}], r"a.json is not a complete JSON file of labelme \(KeyError\('label'\)\)"),
        ([shape('road', [[0, 0], [1, 1]], 'mask', mask='')], 'a.json has a mask of road that cannot be decoded'),
        ([shape('road', [[0, 0], [5, 5]], 'mask', mask=png(np.ones((2, 2))))], 'a.json has a mask of road that differs in size'),
    ],
)
def test_faults_of_labelmes_files_are_named(tmp_path, shapes, fault):
    images(tmp_path / 'in')
    labelme_file(tmp_path / 'in' / 'b.json')
    labelme_file(tmp_path / 'in' / 'a.json', *shapes)
    with pytest.raises(UserError, match=f'1 of 2 .* cannot be used; nothing is written:\n.*{fault}'):
        prepare(tmp_path)


def test_a_file_of_labelme_for_an_image_of_another_size_is_named(tmp_path):
    labelme(tmp_path / 'in')
    labelme_file(tmp_path / 'in' / 'a.json', size_hw=(50, 40))
    with pytest.raises(
        UserError,
        match=r'a.json was drawn for an image of 40x50 pixels \(width x height\), but its '
        r'image has 50x40',
    ):
        prepare(tmp_path)


def test_a_cut_file_and_one_without_an_image_are_named(tmp_path):
    labelme(tmp_path / 'in')
    labelme_file(tmp_path / 'in' / 'c.json')
    with pytest.raises(UserError, match='1 of 3 images cannot be used; .*:\n  no image of .*c.json'):
        prepare(tmp_path, '--leave-out', 'bird')
    (tmp_path / 'in' / 'c.json').write_text('{"version": "5.4.1", "flags": {}, "shapes": [{"label": "ro')
    labelme_file(tmp_path / 'in' / 'labels' / 'c.json')
    for path in (tmp_path / 'in').glob('*.json'):
        path.rename(tmp_path / 'in' / 'labels' / path.name)
    images(tmp_path / 'in' / 'images', *'abc')
    with pytest.raises(UserError, match='1 of 3 label files cannot be used; .*:\n  .*c.json is not a complete JSON file'):
        prepare(tmp_path)


# COCO's form


def test_smaller_objects_lie_on_larger_ones_whatever_their_order(tmp_path):
    images(tmp_path / 'in')
    objects = [('car', outline(0, 5, 0, 5)), ('road', outline(0, 40, 0, 50)), ('car', outline(10, 12, 10, 12))]
    coco_file(tmp_path / 'in' / 'a.json', {'a': objects, 'b': objects[::-1]})
    found = prepare(tmp_path)
    np.testing.assert_array_equal(found['a'], found['b'])
    assert np.bincount(found['a'].ravel()).tolist() == [0, 2000 - 25 - 4, 25 + 4]


def test_files_of_splits_are_the_splits(tmp_path):
    """By their names, or by those of their folders; a file without any object lists images that have no labels."""
    data = tmp_path / 'in'
    for folder, name in (('train', 'a'), ('valid', 'b'), ('test', 'c')):
        images(data / folder, name)
    road = [('road', outline(0, 9, 0, 9))]
    coco_file(data / 'train' / '_annotations.coco.json', {'a': road})
    coco_file(data / 'valid' / '_annotations.coco.json', {'b': road})
    coco_file(data / 'instances_test2017.json', {'c': []})
    prepare(tmp_path, '--lists-only')
    assert {split: [record.id for record in load_split(tmp_path / 'out', split)] for split in ('train', 'val', 'test')} == {
        'train': ['a'], 'val': ['b'], 'test': ['c'],
    }  # fmt: skip
    assert load_split(tmp_path / 'out', 'test')[0].label is None


def test_boxes_without_outlines_are_said(tmp_path, capsys):
    images(tmp_path / 'in')
    box = {'bbox': [0, 0, 9, 9], 'segmentation': []}
    objects = {'a': [('car', box), ('road', outline(0, 9, 0, 9))], 'b': [('car', {'bbox': [0, 0, 1, 1]})]}
    coco_file(tmp_path / 'in' / 'x.json', objects)
    assert np.bincount(prepare(tmp_path)['a'].ravel()).tolist() == [2000 - 81, 81]
    assert f'note: 2 of 3 annotations in {tmp_path / "in" / "x.json"} have no outline' in capsys.readouterr().out
    coco_file(tmp_path / 'in' / 'x.json', {'a': [('car', box)], 'b': []})
    with pytest.raises(UserError, match='x.json: no object has an outline, so there is nothing to learn'):
        prepare(tmp_path)


def test_an_image_is_found_by_its_path_and_one_that_may_be_two_is_not(tmp_path):
    """A path as Windows writes it is one; a name alone fits any folder."""
    data = tmp_path / 'in'
    images(data / 'day', 'a')
    images(data / 'night', 'b')
    coco_file(data / 'x.json', {'day\\a': [('road', outline(0, 9, 0, 9))], 'b': []})
    assert prepare(tmp_path).keys() == {'a', 'b'}
    images(data / 'day', 'b')
    with pytest.raises(UserError, match='x.json lists b.jpg, which could be .*day/b.jpg or .*night/b.jpg'):
        prepare(tmp_path)


@pytest.mark.parametrize(
    ('objects', 'fault'),
    [
        ({'c': []}, '1 of 1 images cannot be used; .*:\n  .*x.json lists c.jpg, but there is no such file'),
        ({'a': [('road', [[1, 2, 3, 4, 5, 6, 7]])]}, 'an entry of annotations that is not in the form of COCO.*half a point'),
        ({'a': [('road', [[1, 2, 3, 4, 5, 1e9]])]}, 'far off or no number'),
        ({'a': [('road', {'segmentation': {'size': [40, 50], 'counts': [10]}})]}, 'run lengths of another size'),
        ({'a': [('road', {'segmentation': {'size': [40, 50], 'counts': '!!'}})]}, "run lengths with the character '!'"),
        ({'a': [('road', {'segmentation': {'size': [1, 10], 'counts': [10]}})]}, r'x.json: a.jpg has run lengths of \[1, 10\]'),
        (
            {'a': [('road', {'segmentation': outline(1, 5, 1, 5), 'image_id': 7})]},
            'an object of image 7 and category 1, which are',
        ),
        (
            {'a': [('road', {'segmentation': outline(1, 5, 1, 5), 'category_id': 7})]},
            'an object of image 1 and category 7, which',
        ),
        (
            {'a': [('road', {'segmentation': outline(1, 5, 1, 5), 'category_id': [7]})]},
            'an entry of annotations that is not in the form of COCO',
        ),
        ({'a': [('road', {'segmentation': [1, 1, 5, 1, 5, 5]})]}, 'an entry of annotations that is not in the form of COCO'),
    ],
)
def test_faults_of_annotation_files_are_named(tmp_path, objects, fault):
    images(tmp_path / 'in')
    coco_file(tmp_path / 'in' / 'x.json', objects)
    with pytest.raises(UserError, match=fault):
        prepare(tmp_path)


# Masks


def test_a_colour_that_the_palette_file_lacks_is_named(tmp_path):
    """With the pixel, as in labels of ids."""
    cvat_masks(tmp_path / 'in')
    picture = coloured(TRUTH['b'])
    picture[7, 9] = 1, 2, 3
    save(tmp_path / 'in' / 'SegmentationClass' / 'b.png', picture)
    words = r'b.png has the colour RGB \(1, 2, 3\), which is neither one of the 4 classes of .*labelmap.txt .*\(row 7, column 9'
    with pytest.raises(UserError, match=words):
        prepare(tmp_path, '--leave-out', 'bird')


def test_masks_of_one_channel_hold_the_places_in_the_palette_file(tmp_path):
    """As CVAT's documentation allows: grey, or indices whose own palette has the colours."""
    cvat_masks(tmp_path / 'in')
    label = TRUTH['a']
    places = np.array([0, 1, 2, *[3] * 253], np.uint8)[label]  # background, road, car, bird
    save(tmp_path / 'in' / 'SegmentationClass' / 'a.png', places)
    picture = Image.fromarray(places[::-1].copy())
    picture.putpalette([part for colour in [(0, 0, 0), *COLOURS.values()] for part in colour])
    picture.save(tmp_path / 'in' / 'SegmentationClass' / 'b.png')
    found = prepare(tmp_path, '--leave-out', 'bird')
    np.testing.assert_array_equal(found['a'], label)
    np.testing.assert_array_equal(found['b'], label[::-1])


def test_lists_of_cvat_are_followed_and_lists_beside_the_images_go_before(tmp_path):
    cvat_masks(tmp_path / 'in')
    for split, name in (('train', 'b'), ('val', 'a')):
        (tmp_path / 'in' / 'ImageSets' / 'Segmentation' / f'{split}.txt').write_text(f'{name}\n')
    assert prepare(tmp_path, '--leave-out', 'bird', split='val').keys() == {'a'}
    for split, name in (('train', 'a'), ('val', 'b')):
        (tmp_path / 'in' / f'{split}.txt').write_text(f'{name}\n')
    assert prepare(tmp_path, '--leave-out', 'bird', split='val').keys() == {'b'}


def test_a_palette_without_a_colour_is_refused(tmp_path):
    colour_masks(tmp_path / 'in')
    (tmp_path / 'in' / 'class_dict.csv').unlink()
    (tmp_path / 'in' / 'palette.txt').write_text('road 10 20 30\ncar\n')
    with pytest.raises(UserError, match='palette.txt line 2: car has no colour'):
        prepare(tmp_path)


# Which form, and what is drawn


def test_two_forms_in_one_folder_are_refused(tmp_path):
    labelme_apart(tmp_path / 'in')
    save(tmp_path / 'in' / 'labels' / 'a.png', TRUTH['b'])
    with pytest.raises(UserError, match="holds labelme's JSON files and PNGs of ids, .*; move one of them out"):
        prepare(tmp_path)


def test_other_json_files_are_passed_over(tmp_path):
    """A list, one that is nested beyond reason, one that is cut, a folder with such a name."""
    labelme(tmp_path / 'in')
    for name, text in (('list', '[1]'), ('deep', '[' * 100_000), ('dict', '{"a": ' * 100_000), ('cut', '{"a": [1,')):
        (tmp_path / 'in' / f'{name}.json').write_text(text)
    (tmp_path / 'in' / 'folder.json').mkdir()
    assert prepare(tmp_path, '--leave-out', 'bird').keys() == TRUTH.keys()


def test_no_labels_at_all_are_refused_with_what_was_looked_for(tmp_path):
    images(tmp_path / 'in' / 'images')
    (tmp_path / 'in' / 'notes.json').write_text('[1, 2]')
    with pytest.raises(UserError, match='no labels in .*/in: no PNGs in labels/ or SegmentationClass/, no JSON files of labelme'):
        prepare(tmp_path)


def test_drawn_labels_are_kept_and_drawn_anew_for_other_classes(tmp_path):
    labelme(tmp_path / 'in')
    prepare(tmp_path, '--leave-out', 'bird')
    path = tmp_path / 'out' / 'drawn_labels' / 'a.png'
    drawn = path.stat().st_mtime_ns
    prepare(tmp_path, '--leave-out', 'bird')
    assert path.stat().st_mtime_ns == drawn
    assert (prepare(tmp_path, '--leave-out', 'car,bird')['a'] == 255).sum() == 6 * 12 + 4 * 6


def test_an_image_that_cannot_be_read_does_not_end_the_command_before_the_others(tmp_path):
    """As with label PNGs: the lists are written, and it is named."""
    labelme(tmp_path / 'in')
    (tmp_path / 'in' / 'a.jpg').write_bytes(b'no image')
    with pytest.raises(UserError, match='1 of 2 images cannot be used; .*:\n  .*a.jpg cannot be read'):
        prepare(tmp_path, '--leave-out', 'bird')
    assert (tmp_path / 'out' / 'train.json').is_file()
