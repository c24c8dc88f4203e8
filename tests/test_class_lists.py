"""Lists of classes as people and other tools write them: names and colours are read, or an error names the line."""

import pytest

from dataset_prep.class_lists import read_classes
from tools.support.errors import UserError

SKY_ROAD = [('sky', (1, 2, 3)), ('road', (4, 5, 6))]
PLAIN = [('sky', (0, 0, 0)), ('road', (128, 0, 0))]  # the first two colours of VOC


def classes(folder, text):
    """The classes read from a file with this text."""
    (folder / 'classes.txt').write_text(text, encoding='utf-8')
    return read_classes(str(folder / 'classes.txt'))


@pytest.mark.parametrize(
    'text',
    [
        'sky 1 2 3\nroad 4 5 6\n',
        'sky\t1\t2\t3\r\n\r\nroad\t4\t5\t6\r\n',
        'sky, 1, 2, 3\nroad, 4, 5, 6',
        'sky (1, 2, 3)\nroad [4,5,6]',
        'sky: #010203\nroad: #040506',
        'sky 0x010203\nroad 0x040506',
        '# label:color_rgb:parts:actions\nsky:1,2,3::\nroad:4,5,6:wheel,door:\n',  # CVAT, labelmap.txt
        '1 2 3\tsky\n4 5 6 \troad\n',  # CamVid, label_colors.txt
        '\ufeffname,r,g,b\nsky,1,2,3\nroad,4,5,6',
        'Name; R; G; B\n"sky"; 1; 2; 3\n"road"; 4; 5; 6',
        'id,name,color\n1,road,"4, 5, 6"\n0,sky,"1, 2, 3"',
        'r g b class\n1 2 3 sky\n4 5 6 road',
        'label,name,r,g,b\n255,void,0,0,0\n0,sky,1,2,3\n1,road,4,5,6',
        '0 sky 1 2 3\n1 road 4 5 6',
        '1: road: 4, 5, 6\n0: sky: 1, 2, 3',
    ],
)
def test_names_and_colours_are_read(tmp_path, text):
    """In the order of their ids if the file has ids, else in the order of the lines."""
    assert classes(tmp_path, text) == SKY_ROAD


@pytest.mark.parametrize(
    'text',
    [
        'sky\nroad', 'name\nsky\nroad', 'classes\nsky\nroad', ',name\n0,sky\n1,road', '0 sky\n1 road', 'sky 0\nroad 1',
        'road 1\nsky 0', '__ignore__\nsky\nroad', 'sky:::\nroad:::',
    ],
)  # fmt: skip
def test_names_without_colours_get_vocs_colours(tmp_path, text):
    assert classes(tmp_path, text) == PLAIN


def test_classes_without_names_are_numbered(tmp_path):
    assert classes(tmp_path, '1, 2, 3\n4, 5, 6') == [('class 0', (1, 2, 3)), ('class 1', (4, 5, 6))]
    assert read_classes('2') == [('class 0', (0, 0, 0)), ('class 1', (128, 0, 0))]


@pytest.mark.parametrize('text', ['lane 1\nlane 2', 'lane 1 1 2 3\nlane 2 4 5 6', 'wall, brick\nBürgersteig', '猫\n2 wheeler'])
def test_names_may_have_numbers_commas_and_any_letters(tmp_path, text):
    names = [line.partition(' 1 2 3')[0].partition(' 4 5 6')[0] for line in text.splitlines()]
    assert [name for name, _ in classes(tmp_path, text)] == names


def test_class_without_a_colour_gets_one_that_no_other_has(tmp_path):
    """VOC's colour of id 0, black, is taken by the second class. The next free one is VOC's colour of id 2."""
    assert classes(tmp_path, 'sky\nroad 0 0 0') == [('sky', (0, 128, 0)), ('road', (0, 0, 0))]


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('road\nsky\nroad\n', 'line 3: the class road is already in line 1'),
        ('road 1 2 3\nsky 1 2 3\n', r'line 2: the colour \(1, 2, 3\) is already in line 1'),
        ('road 1 2 300\nsky\n', 'line 1: the colour 1 2 300: a colour has three numbers from 0 to 255'),
        ('', 'is empty'),
        ('# sky\n# road\n', 'only comments'),
        ('1 sky\n2 road\n', 'line 1: sky has id 1, and none has id 0; ids are 0 to N-1'),
        ('0 sky\n2 road\n', 'line 2: road has id 2, and none has id 1'),
        ('0 sky\n0 road\n', 'line 2: the id 0 is already in line 1'),
        ('0\n1\n2\n', "line 1: '0' is not understood; write one class on each line.*road 128 64 128"),
        ('sky 1 2\nroad 3 4\n', "line 1: 'sky 1 2' is not understood"),
        ('sky 0.1 0.2 0.3\nroad 0 0 1\n', "line 1: 'sky 0.1 0.2 0.3' is not understood"),
        ('sky 255\nroad 128\n', 'line 1: 255 after sky is not understood'),
        ('0 sky 1 2 3 0\n1 road 4 5 6 0\n', 'line 1: 1 after sky is not understood'),  # FreeSurfer: R G B A
        ('name,supercategory\nsky,nature\n', "line 1: 'name,supercategory' is not understood"),
        ('name,r,g,b\nsky,1,2\n', "line 2: 'sky,1,2' is not understood"),
        ('name,r,g,b\nsky,1,2,x\n', "line 2: 'sky,1,2,x' is not understood"),
        ('{"names": ["sky", "road"]}', 'is not understood; write one class on each line'),
        ('names:\n  0: sky\n  1: road\n', "line 1: 'names:' is not understood"),
        ('sky\0\nroad\0\n', 'line 1: .* is not understood'),
        ('- sky\n- road\n', "line 1: '- sky' is not understood"),
        ('item {\n  name: "sky"\n}\n', "line 1: 'item {' is not understood"),
        ('sky 1 2 3 # blue\nroad\n', "line 1: 'sky 1 2 3 # blue' is not understood"),
    ],
)
def test_bad_line_is_named(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        classes(tmp_path, text)
