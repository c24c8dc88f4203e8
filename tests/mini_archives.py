"""Writes small copies of the data sets in their official layouts, made of noise, and returns what must be read from each.

Truth maps an id to the pair that training must read: image uint8 (H, W, 3) BGR, label uint8 (H, W) with our ids.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

import dataset_prep.camvid
import dataset_prep.cityscapes
import dataset_prep.custom
import dataset_prep.kitti
import dataset_prep.voc
import dataset_prep.voc_coco
from dataset_prep.records import Record

Truth = dict[str, tuple[np.ndarray, np.ndarray]]

# These tables repeat the project's on purpose: expected values must not come from the code under test.
CAMVID_RGB = {  # colours of label_colors.txt by our id (255: Animal, Archway, Bridge, and so on)
    0: [(128, 0, 0), (64, 192, 0)], 1: [(128, 128, 0), (192, 192, 0)], 2: [(128, 128, 128)],
    3: [(64, 0, 128), (64, 128, 192), (192, 128, 192)], 4: [(192, 128, 128), (0, 64, 64), (128, 128, 64)],
    5: [(128, 64, 128), (128, 128, 192), (128, 0, 192), (192, 0, 64)], 6: [(64, 64, 0)], 7: [(64, 64, 128)], 8: [(192, 192, 128)],
    9: [(0, 0, 192), (64, 192, 128)], 10: [(0, 128, 192), (192, 0, 192)],
    255: [
        (64, 128, 64), (192, 0, 128), (0, 128, 64), (64, 0, 192), (192, 128, 64), (128, 64, 64), (0, 0, 64), (192, 64, 128),
        (64, 0, 64), (0, 0, 0),
    ],
}  # fmt: skip
STREET_RGB = [CAMVID_RGB[index][0] for index in range(11)]
TRAIN_IDS = [255] * 7 + [
    0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255, 255, 16, 17, 18
]  # fmt: skip
COCO_NAMES = {1: 'person', 3: 'car', 18: 'dog', 47: 'cup', 63: 'couch', 72: 'tv'}  # cup is no category of VOC


def save(path: Path, array: np.ndarray) -> None:
    """Write an RGB or grey picture, in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(array)).save(path, compress_level=1)  # of PNGs; noise hardly compresses


def save_index(path: Path, ids: np.ndarray) -> None:
    """Write `ids` as a palette PNG with meaningless colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(ids)
    picture.putpalette([*reversed(range(256))] * 3)
    picture.save(path)


def noise(seed: int, *shape: int) -> np.ndarray:
    """Random bytes."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labels(seed: int, values: list[int], *size_hw: int) -> np.ndarray:
    """A label of random `values`."""
    return np.random.default_rng(seed).choice(np.array(values, np.uint8), size_hw)


def jpeg(path: Path, seed: int, *size_hw: int) -> np.ndarray:
    """Write a JPEG of noise; returns its decoded pixels, BGR."""
    save(path, noise(seed, *size_hw, 3))
    return np.asarray(Image.open(path))[..., ::-1]


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')


def voc(data: Path) -> tuple[Truth, Truth]:
    """VOC 2012 and SBD; returns the truth of train_aug and of val.

    2007_000032 is in VOC train and in SBD, 2007_000033 in VOC val and in SBD.
    """
    root, sbd = data / 'VOCdevkit' / 'VOC2012', data / 'benchmark_RELEASE' / 'dataset'
    lists = {'train': ['2007_000032', '2007_000039'], 'val': ['2007_000033', '2007_000042']}
    extra = {'train': ['2008_000002', '2007_000033', '2007_000032'], 'val': ['2008_000001']}
    train: Truth = {}
    val: Truth = {}
    for split, target in (('train', train), ('val', val)):
        write_lines(root / 'ImageSets' / 'Segmentation' / f'{split}.txt', lists[split])
        for seed, name in enumerate(lists[split], len(train)):
            ids = labels(seed, [*range(21), 255], 30 + seed, 41)
            save_index(root / 'SegmentationClass' / f'{name}.png', ids)
            target[name] = (jpeg(root / 'JPEGImages' / f'{name}.jpg', seed, 30 + seed, 41), ids)
    for split, names in extra.items():
        write_lines(sbd / f'{split}.txt', names)
        for seed, name in enumerate(names, 10):
            ids = labels(seed, [*range(21)], 33, 25 + seed)
            image = jpeg(sbd / 'img' / f'{name}.jpg', seed, 33, 25 + seed)
            save_mat(sbd / 'cls' / f'{name}.mat', ids)
            if name not in (*lists['train'], *lists['val']):
                train[name] = (image, ids)
    return train, val


def save_mat(path: Path, ids: np.ndarray) -> None:
    """Write a label as one of SBD's MATLAB files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {'GTcls': {'Segmentation': ids, 'CategoriesPresent': np.unique(ids)}}, do_compression=True)


def voc_test(data: Path) -> list[str]:
    """Add VOC's test set to the same tree; returns its ids."""
    root = data / 'VOCdevkit' / 'VOC2012'
    write_lines(root / 'ImageSets' / 'Segmentation' / 'test.txt', ['2008_000006'])
    jpeg(root / 'JPEGImages' / '2008_000006.jpg', 3, 20, 20)
    return ['2008_000006']


def coco(data: Path) -> Truth:
    """Two sets of COCO, images of 50x40 pixels; returns the truth of the images with an object of VOC's categories.

    Outlines run along the edges of pixels, so each pixel is clearly inside or outside.
    """
    rectangle = {'category_id': 1, 'segmentation': [[10, 20, 30, 20, 30, 35, 10, 35]]}  # 20 x 15 = 300 pixels of person
    inside = {'category_id': 18, 'segmentation': [[12, 22, 17, 22, 17, 26, 12, 26]]}  # 5 x 4 = 20 of dog, on top
    corner = {'category_id': 3, 'segmentation': [[0, 0, 10, 0, 10, 4, 4, 4, 4, 10, 0, 10]]}  # 10 x 4 + 4 x 6 = 64 of car
    cup = {'category_id': 47, 'segmentation': [[25, 25, 28, 25, 28, 28, 25, 28]]}  # no category of VOC
    crowd = {'category_id': 1, 'iscrowd': 1, 'segmentation': {'size': [40, 50], 'counts': [1200, 240, 560]}}  # columns 30-35
    left, line, right = [0, 0, 2, 0, 2, 3, 0, 3], [5, 5, 9, 9], [40, 30, 44, 30, 44, 35, 40, 35]
    two_parts = {'category_id': 63, 'segmentation': [left, line, right]}  # 2 x 3 = 6 of sofa, nothing, 4 x 5 = 20
    first = np.zeros((40, 50), np.uint8)
    first[:, 30:36] = 255
    first[20:35, 10:30] = 15
    first[22:26, 12:17] = 12
    first[:4, :10] = first[4:10, :4] = 7
    second = np.zeros((40, 50), np.uint8)
    second[:3, :2] = second[30:35, 40:44] = 18
    truth = {
        'COCO_train2014_000000000009': ([inside, rectangle, crowd, corner, cup], first),
        'COCO_train2014_000000000025': ([cup], None),
        'COCO_val2014_000000000042': ([two_parts], second),
        'COCO_val2014_000000000061': ([crowd], None),
    }
    images = {}
    for seed, name in enumerate(truth, 40):
        images[name] = jpeg(data / name.split('_')[1] / f'{name}.jpg', seed, 40, 50)
    for split in ('train2014', 'val2014'):
        write_coco(data, split, {name: objects for name, (objects, _) in truth.items() if split in name})
    return {name: (images[name], label) for name, (_, label) in truth.items() if label is not None}


def write_coco(data: Path, split: str, objects: dict[str, list[dict]]) -> None:
    """Write annotations/instances_SPLIT.json of COCO."""
    coco_file(data / 'annotations' / f'instances_{split}.json', COCO_NAMES, objects)


def coco_file(path: Path, categories: dict[int, str], objects: dict[str, list[dict]]) -> None:
    """Write an annotation file for images of 50x40 pixels, from the members of each image's objects.

    The id of an image is the number in its name, or else its place, from 1.
    """
    ids = {name: int(name.split('_')[-1]) if '_' in name else place for place, name in enumerate(objects, 1)}
    all_objects = [(name, one) for name, of_image in objects.items() for one in of_image]
    content = {
        'info': {'year': 2014, 'note': 'brackets ] } in "text"'},
        'images': [{'id': ids[name], 'file_name': f'{name}.jpg', 'height': 40, 'width': 50} for name in objects],
        'licenses': [],
        'annotations': [
            {'iscrowd': 0, 'image_id': ids[name], **one, 'id': place} for place, (name, one) in enumerate(all_objects, 100)
        ],
        'categories': [{'id': number, 'name': name} for number, name in categories.items()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def kitti(data: Path) -> tuple[Truth, Truth]:
    """KITTI of Ros et al.; returns the truth of train and of test. Both sequences have a frame 000000."""
    colours = np.array([*STREET_RGB, (0, 0, 0)], np.uint8)
    splits: list[Truth] = []
    for seed, (folder, frames) in enumerate({'Training_00': ['000000', '000010'], 'Validation_07': ['000000']}.items()):
        truth: Truth = {}
        for number, frame in enumerate(frames):
            image, ids = noise(50 + seed + number, 37, 122, 3), labels(60 + seed + number, [*range(12)], 37, 122)
            save(data / folder / 'RGB' / f'{frame}.png', image[..., ::-1])
            save(data / folder / 'GT' / f'{frame}.png', colours[ids])
            truth[f'{folder}_{frame}'] = (image, np.where(ids == 11, 255, ids).astype(np.uint8))
        splits.append(truth)
    return splits[0], splits[1]


def cityscapes(data: Path, size_hw: tuple[int, int] = (32, 64)) -> dict[str, Truth]:
    """Cityscapes; returns the truth of train and val. The labels of test are all 0, as in the real archive."""
    table = np.array(TRAIN_IDS, np.uint8)
    frames = {
        'train': ['aachen_000000_000019', 'aachen_000001_000019', 'ulm_000000_000019'],
        'val': ['lindau_000000_000019'],
        'test': ['bonn_000000_000019'],
    }
    truth: dict[str, Truth] = {'train': {}, 'val': {}, 'test': {}}
    for split, names in frames.items():
        for seed, name in enumerate(names, 70):
            image, ids = noise(seed, *size_hw, 3), labels(seed, [*range(34)], *size_hw)
            city = name.split('_')[0]
            save(data / 'leftImg8bit' / split / city / f'{name}_leftImg8bit.png', image[..., ::-1])
            save(data / 'gtFine' / split / city / f'{name}_gtFine_labelIds.png', np.zeros_like(ids) if split == 'test' else ids)
            save(data / 'gtFine' / split / city / f'{name}_gtFine_color.png', noise(seed, *size_hw, 3))
            truth[split][name] = (image, table[ids])
    return truth


def camvid(data: Path) -> Truth:
    """CamVid's official layout, four frames of 45x33 pixels in all 32 colours; returns the truth of train, the first two."""
    pairs = [(index, colour) for index, colours in CAMVID_RGB.items() for colour in colours]
    truth: Truth = {}
    for seed, frame in enumerate(['0001TP_006690', '0006R0_f00930', '0016E5_07959', 'Seq05VD_f00000']):
        image, picks = noise(80 + seed, 33, 45, 3), labels(80 + seed, [*range(32)], 33, 45)
        save(data / '701_StillsRaw_full' / f'{frame}.png', image[..., ::-1])
        save(data / 'LabeledApproved_full' / f'{frame}_L.png', np.array([colour for _, colour in pairs], np.uint8)[picks])
        if seed < 2:
            truth[frame] = (image, np.array([index for index, _ in pairs], np.uint8)[picks])
    return truth


def custom(data: Path) -> Truth:
    """A user's own folder: names with spaces and non-ASCII letters, grey and palette labels, 3 classes."""
    truth: Truth = {}
    for seed, name in enumerate(['straße 1', '猫', 'a.b', 'plain']):
        image, ids = noise(90 + seed, 31 + seed, 45, 3), labels(90 + seed, [0, 1, 2, 255], 31 + seed, 45)
        save(data / 'images' / f'{name}{".PNG" if seed == 3 else ".png"}', image[..., ::-1])
        (save_index if seed % 2 else save)(data / 'labels' / f'{name}.png', ids)
        truth[name] = (image, ids)
    return truth


def toy_records(folder: Path, sizes_hw: list[tuple[int, int]]) -> list[Record]:
    """Images of noise for the data set toy, with random labels; ids r0, r1 and so on."""
    records = []
    for seed, size_hw in enumerate(sizes_hw):
        image, label = folder / f'{seed}.png', folder / f'{seed}_label.png'
        save(image, noise(seed, *size_hw, 3))
        save(label, labels(seed, [*range(7)], *size_hw))
        records.append(Record(f'r{seed}', image, label, 'toy'))
    return records


MINIATURES = {  # by the name of the command: who writes it
    'voc': voc,
    'voc_coco': lambda data: (voc(data), coco(data)),
    'camvid': camvid,
    'kitti': kitti,
    'cityscapes': cityscapes,
    'custom': custom,
}
OPTIONS = {'custom': ['--classes', '3', '--name', 'mine'], 'camvid': ['--size', '45x33', '--allow-partial']}


def prepare(name: str, data: Path, out: Path, *options: str, crop: int = 404) -> Path:
    """Run the command `name` on its miniature; returns `out`. The crop of 404 is the front end's smallest plus 4 cells."""
    command = getattr(dataset_prep, name)
    words = ['--data', str(data), '--out', str(out), '--crop-size', str(crop)]
    command.main([*words, *OPTIONS.get(name, ['--allow-partial']), *options])
    return out
