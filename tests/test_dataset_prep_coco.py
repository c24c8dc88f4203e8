"""MS COCO's annotations: which images are taken, which labels are drawn, what is refused."""

import json

import numpy as np
import pytest
from mini_archives import coco, save, write_coco
from PIL import Image

from dataset_prep import json_stream
from dataset_prep.coco import draw_labels, read_set
from dataset_prep.records import read_label
from dataset_prep.voc_coco import find_coco
from tools.support.errors import UserError

VAL_IMAGE = 'COCO_val2014_000000000042'


def find(data, *sets, min_object_area=0, other_objects='left'):
    """The records that are taken of `sets`."""
    return find_coco(data, [*sets], data / 'out', min_object_area, True, other_objects)


def test_objects_of_other_categories_are_drawn_over_on_request(tmp_path):
    """A cup, 3x3 pixels from column and row 25, lies on the person. Both ways take the same image and keep their own labels."""
    [(name, (_, left)), *_] = coco(tmp_path).items()
    expected = left.copy()
    expected[25:28, 25:28] = 0
    assert (left[25:28, 25:28] == 15).all()
    [drawn], [undrawn] = find(tmp_path, 'train2014', other_objects='drawn-over'), find(tmp_path, 'train2014')
    assert drawn.id == undrawn.id == name
    np.testing.assert_array_equal(read_label(drawn), expected)
    np.testing.assert_array_equal(read_label(undrawn), left)


def test_images_with_small_objects_can_be_left_out(tmp_path):
    """The objects of the image of val2014 have 26 pixels."""
    coco(tmp_path)
    taken = find(tmp_path, 'val2014', 'train2014', min_object_area=27)
    assert [record.id for record in taken] == ['COCO_train2014_000000000009']
    assert len(find(tmp_path, 'val2014', min_object_area=26)) == 1


def test_missing_image_is_named_before_labels_are_drawn(tmp_path):
    coco(tmp_path)
    (tmp_path / 'val2014' / f'{VAL_IMAGE}.jpg').unlink()
    with pytest.raises(UserError, match=f'1 of 1 .* unpack val2014 anew:\n  no file at .*{VAL_IMAGE}.jpg'):
        find(tmp_path, 'val2014')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('objects', 'words'),
    [
        ({'category_id': 1, 'segmentation': [[1, 2, 3, 4, 5, 6, 7]]}, 'annotation 100: a polygon with half a point'),
        ({'category_id': 1, 'segmentation': [[1, 2, 3, 4]]}, 'lists no object of the 20 categories of VOC'),
        ({'category_id': 47, 'segmentation': [[0, 0, 9, 0, 9, 9]]}, 'lists no object of the 20 categories of VOC'),
        ({'category_id': 1, 'segmentation': {'size': [40, 50], 'counts': [10]}}, 'annotation 100: run lengths of another size'),
        ({'category_id': 1, 'segmentation': {'size': [40, 50]}}, "an entry of annotations .*'counts'"),
        ({'category_id': 1}, "an entry of annotations that is not in the form of COCO.*'segmentation'"),
        (
            {'category_id': 1, 'segmentation': {'size': [30, 50], 'counts': [1500]}},
            rf'instances_val2014.json: {VAL_IMAGE}.jpg has run lengths of \[30, 50\]',
        ),
    ],
)
def test_bad_annotation_is_named(tmp_path, objects, words):
    coco(tmp_path)
    write_coco(tmp_path, 'val2014', {VAL_IMAGE: [objects]})
    with pytest.raises(UserError, match=words):
        find(tmp_path, 'val2014')


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda content: content['images'].pop(0), 'has annotations of image 42, which is not listed'),
        (lambda content: content['categories'][0].update(name='dog'), 'category 1 is dog, in COCO it is person'),
    ],
)
def test_file_that_is_not_cocos_is_refused(tmp_path, change, words):
    coco(tmp_path)
    path = tmp_path / 'annotations' / 'instances_val2014.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        read_set(tmp_path, 'val2014')


def test_drawn_labels_are_kept_until_the_annotations_change(tmp_path):
    """Kept: an edited label stays as it is, a deleted one is drawn again. With other annotations all are drawn again."""
    truth = coco(tmp_path)

    def draw():
        [path] = draw_labels(read_set(tmp_path, 'val2014'), tmp_path / 'out').values()
        return path

    path = draw()
    save(path, np.zeros((40, 50), np.uint8))
    assert not np.asarray(Image.open(draw())).any()
    path.unlink()
    np.testing.assert_array_equal(np.asarray(Image.open(draw())), truth[VAL_IMAGE][1])
    square = {'category_id': 72, 'segmentation': [[0, 0, 3, 0, 3, 3, 0, 3]]}
    write_coco(tmp_path, 'val2014', {VAL_IMAGE: [square]})
    assert np.bincount(np.asarray(Image.open(draw())).ravel()).tolist() == [40 * 50 - 9, *[0] * 19, 9]


@pytest.mark.parametrize('chunk', [1, 7, 1 << 22])
def test_json_is_read_in_chunks_of_any_size(tmp_path, monkeypatch, chunk):
    """A list gives its entries one by one."""
    monkeypatch.setattr(json_stream, 'CHUNK', chunk)
    content = {'a': [1.5, 'x,]}"\\ é', {'b': [1, 2, {}]}], 'n': 1234567, 'e': [], 't': True, 'o': {'k': None}}
    path = tmp_path / 'x.json'
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding='utf-8')
    expected = [('a', 1.5), ('a', 'x,]}"\\ é'), ('a', {'b': [1, 2, {}]}), ('n', 1234567), ('t', True), ('o', {'k': None})]
    assert list(json_stream.entries(path)) == expected
    path.write_text('{}')
    assert list(json_stream.entries(path)) == []


@pytest.mark.parametrize('text', ['', '[]', '{"a": [1, 2', '{"a": [1 2]}', '{"a": [{"b": }]}', '{"a" 1}', '{"a": [1]', '\udcff'])
def test_incomplete_json_is_refused(tmp_path, text):
    path = tmp_path / 'x.json'
    path.write_bytes(text.encode('utf-8', 'surrogateescape'))
    with pytest.raises(UserError, match='x.json is not a complete JSON file'):
        list(json_stream.entries(path))
