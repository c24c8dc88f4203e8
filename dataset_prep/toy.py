"""Draw the toy data set: misty panoramas in which a far part of a picture can only be named by what stands in another part.

Each picture shows sky, mountains, trees, and a pale plain under mist. The plain is a lake if a boat is on it and a field if a
barn is; it is drawn the same way. The boat or barn is near one end, in front of a wood. The plain begins behind the wood. Four
tenths of it are farther from the boat or barn than the 186 pixels that the front end sees each way. All of it is within the 450
pixels that front end and context module see together.
All other classes can be named from close by. The same options give the same files.
"""

import argparse
import json
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dataset_prep.datasets import dataset
from dataset_prep.order import shuffled
from dataset_prep.prepare import add_arguments, lmdbs_asked, prepare
from dataset_prep.records import Record
from tools.support.atomic import check_own_folder, whole_folder
from tools.support.errors import run_command
from tools.support.paths import DATA

SIZE_HW = (192, 384)  # pixels; multiples of 8, and with the margin of 186 on each side 564x756
CROP_SIZES = (564,)
CUE_CENTRE_X = (76, 96)  # pixels from the near end
WOOD_END = (110, 195)  # pixels from the centre of boat or barn to where the wood behind it ends
CLASS = {name: index for index, name in enumerate(dataset('toy').classes)}

# Colours are RGB. A picture takes one row of SKIES: top and bottom of the sky, far and near mountains.
SKIES = (
    ((120, 165, 215), (235, 225, 205), (150, 150, 180), (105, 105, 140)),
    ((150, 140, 190), (250, 215, 190), (165, 140, 165), (120, 100, 130)),
    ((130, 185, 200), (225, 235, 225), (140, 160, 170), (95, 115, 130)),
)
MIST_FAR, MIST_NEAR = (214, 218, 222), (186, 196, 202)
TREES = ((45, 95, 65), (35, 80, 70), (60, 105, 55))
HULL, SAIL, MAST = (165, 20, 50), (220, 45, 70), (140, 20, 45)
WALL, ROOF, DOOR = (245, 200, 60), (205, 150, 20), (165, 120, 15)
SETTINGS = 'drawn.json'  # beside the pictures: what they were drawn from
GRAIN = 3.0  # standard deviation of the noise over everything


class Scene:
    """A picture being painted: `image` uint8 (H, W, 3) RGB and `label` uint8 (H, W), with the random numbers that shape it."""

    def __init__(self, seed: tuple[int, ...]):
        # RandomState: NumPy keeps its streams the same for ever.
        self.random = np.random.RandomState(seed)
        self.image = np.zeros((*SIZE_HW, 3), np.uint8)
        self.label = np.zeros(SIZE_HW, np.uint8)

    def fill(self, points, colour, name: str) -> None:
        """Paint a polygon, points (x, y), and label it with the class `name`."""
        outline = np.rint(np.asarray(points)).astype(np.int32)[None]
        cv2.fillPoly(self.image, outline, tuple(int(part) for part in colour), cv2.LINE_AA)
        cv2.fillPoly(self.label, outline, CLASS[name])

    def between(self, low: float, high: float) -> float:
        """A random number, evenly distributed."""
        return float(self.random.uniform(low, high))


def draw_scene(lake: bool, flip: bool, seed: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """One picture: uint8 (192, 384, 3) BGR and its label, uint8 (192, 384); `flip` puts boat or barn near the right end."""
    scene = Scene(seed)
    sky_top, sky_bottom, far, near = SKIES[scene.random.randint(len(SKIES))]
    horizon = int(scene.between(70, 88))
    _gradient(scene, 0, horizon, sky_top, sky_bottom, 'sky')
    _mountains(scene, horizon, scene.between(52, 72), far)
    _mountains(scene, horizon, scene.between(25, 40), near)
    _plain(scene, horizon, 'lake' if lake else 'field')
    for _ in range(scene.random.randint(2, 5)):
        _fir(scene, scene.between(0, SIZE_HW[1]), horizon + 3, scene.between(40, 64))
    cue_x, foot = scene.between(*CUE_CENTRE_X), SIZE_HW[0] - scene.between(2, 8)
    wood_end = cue_x + scene.between(*WOOD_END)
    _wood(scene, horizon, wood_end)
    (_boat if lake else _barn)(scene, cue_x, foot)
    _fir_in_front(scene, wood_end)
    image = _with_grain(scene)
    if flip:
        return np.ascontiguousarray(image[:, ::-1, ::-1]), np.ascontiguousarray(scene.label[:, ::-1])
    return np.ascontiguousarray(image[..., ::-1]), scene.label


def _gradient(scene: Scene, top: int, bottom: int, upper, lower, name: str) -> None:
    """Fill the rows from `top` to `bottom` with colours from `upper` to `lower`."""
    share = np.linspace(0, 1, bottom - top)[:, None, None]
    scene.image[top:bottom] = np.rint((1 - share) * np.array(upper) + share * np.array(lower))
    scene.label[top:bottom] = CLASS[name]


def _mountains(scene: Scene, horizon: int, height: float, colour) -> None:
    """A ridge of summits and saddles from one end to the other."""
    xs, x = [-40.0], -40.0
    while x < SIZE_HW[1] + 40:
        x += scene.between(35, 80)
        xs.append(x)
    ys = [horizon - height * scene.between(*((0.7, 1.1) if place % 2 else (0.1, 0.5))) for place in range(len(xs))]
    scene.fill([*zip(xs, ys, strict=True), (xs[-1], horizon + 1), (xs[0], horizon + 1)], colour, 'mountain')


def _plain(scene: Scene, horizon: int, name: str) -> None:
    """The plain under mist with faint streaks, drawn the same whatever it is."""
    _gradient(scene, horizon, SIZE_HW[0], MIST_FAR, MIST_NEAR, name)
    veil = scene.image.copy()
    for _ in range(40):
        y = int(scene.between(horizon + 6, SIZE_HW[0]))
        x, length = scene.between(-60, SIZE_HW[1]), scene.between(40, 160)
        cv2.line(veil, (int(x), y), (int(x + length), y), (232, 234, 232), 1 + (y - horizon) // 40, cv2.LINE_AA)
    cv2.addWeighted(veil, 0.5, scene.image, 0.5, 0, dst=scene.image)


def _wood(scene: Scene, horizon: int, end: float) -> None:
    """A wood from the near end of the picture to x = `end`, from above the horizon to the lower edge."""
    tops, x = [(-20.0, horizon - 30.0)], -20.0
    while x < end - 30:
        x += scene.between(12, 22)
        tops += [(x, horizon - scene.between(30, 50)), (x + 8, horizon - scene.between(5, 20))]
    scene.fill([*tops, (end, SIZE_HW[0]), (-20, SIZE_HW[0])], TREES[scene.random.randint(len(TREES))], 'tree')


def _fir_in_front(scene: Scene, wood_end: float) -> None:
    """In half of the pictures, a large fir beyond the wood, with its foot below the lower edge."""
    if scene.random.randint(2):
        _fir(scene, scene.between(wood_end, SIZE_HW[1]), SIZE_HW[0] + 4, scene.between(95, 135))


def _fir(scene: Scene, x: float, foot: float, height: float) -> None:
    """Three tiers of branches, wider towards the foot."""
    colour = TREES[scene.random.randint(len(TREES))]
    for tier in range(3):
        top, half = foot - height * (1 - 0.25 * tier), height * (0.16 + 0.07 * tier)
        scene.fill([(x, top), (x + half, top + 0.5 * height), (x - half, top + 0.5 * height)], colour, 'tree')


def _boat(scene: Scene, x: float, y: float) -> None:
    """A sailing boat, its waterline at y."""
    size = scene.between(1.4, 1.65)
    lean = scene.random.choice((-1, 1))

    def at(dx: float, dy: float) -> tuple[float, float]:
        return x + lean * size * dx, y + size * dy

    scene.fill([at(-2, -16), at(2, -16), at(2, -74), at(-2, -74)], MAST, 'boat')
    scene.fill([at(2, -70), at(40, -17), at(2, -17)], SAIL, 'boat')
    scene.fill([at(-2, -66), at(-32, -17), at(-2, -17)], SAIL, 'boat')
    scene.fill([at(-46, -18), at(50, -18), at(34, 2), at(-34, 2)], HULL, 'boat')


def _barn(scene: Scene, x: float, y: float) -> None:
    """A barn with a gable, its foot at y."""
    size = scene.between(1.4, 1.65)
    lean = scene.random.choice((-1, 1))

    def at(dx: float, dy: float) -> tuple[float, float]:
        return x + lean * size * dx, y + size * dy

    scene.fill([at(-46, 0), at(46, 0), at(46, -36), at(-46, -36)], WALL, 'barn')
    scene.fill([at(-52, -34), at(-34, -66), at(40, -66), at(54, -34)], ROOF, 'barn')
    scene.fill([at(-10, 0), at(12, 0), at(12, -24), at(-10, -24)], DOOR, 'barn')


def _with_grain(scene: Scene) -> np.ndarray:
    """The picture with a little noise, uint8 RGB."""
    noise = scene.random.normal(0, GRAIN, (*SIZE_HW, 1))
    return np.clip(np.rint(scene.image + noise), 0, 255).astype(np.uint8)


def draw_split(folder: Path, split: str, count: int, seed: int) -> list[Record]:
    """Draw `count` pictures into `<folder>/<split>/`; returns their records.

    In an LMDB with this seed, lakes and fields alternate, and the side of the boat or barn changes every two pictures. So a batch
    has as many of each, and no step of a training draws all plains towards one of the two names. Pictures that the same code drew
    before from the same numbers are kept. Raises UserError if other files are there.
    """
    target = folder / split
    check_own_folder(target, SETTINGS)
    settings = {'count': count, 'seed': seed, 'code': sha256(Path(__file__).read_bytes()).hexdigest()}
    names = [f'{split}_{number:03d}' for number in range(count)]
    if not (target / SETTINGS).exists() or json.loads((target / SETTINGS).read_text()) != settings:
        with whole_folder(target) as part:
            for place, name in enumerate(shuffled(names, seed)):
                _draw_files(part / name, place, (seed, list(dataset('toy').splits).index(split), place))
            (part / SETTINGS).write_text(json.dumps(settings))
    return [Record(name, target / f'{name}.png', target / f'{name}_label.png', 'toy') for name in names]


def _draw_files(stem: Path, place: int, seed: tuple[int, ...]) -> None:
    """Draw the picture at a place in the order of training as `<stem>.png` and `<stem>_label.png`."""
    image, label = draw_scene(place % 2 == 0, place // 2 % 2 == 1, seed)
    Image.fromarray(image[..., ::-1]).save(f'{stem}.png', compress_level=1)  # noise does not compress, trying takes long
    Image.fromarray(label).save(f'{stem}_label.png')


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog='.venv/bin/python -m dataset_prep.toy', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for split, count in dataset('toy').splits.items():
        parser.add_argument(
            f'--{split}', type=_count, default=count, metavar='N', help=f'number of {split} pictures (default: {count})'
        )
    add_arguments(parser, DATA / 'toy', CROP_SIZES)
    return parser.parse_args(argv)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of pictures from 1')
    return int(text)


def main(argv: list[str] | None) -> None:
    """Draw the toy data set and prepare it."""
    args = parse_args(argv)
    facts = dataset('toy')
    splits = {split: draw_split(args.out / 'drawn', split, getattr(args, split), args.seed) for split in facts.splits}
    prepare(args.out, facts, splits, lmdbs_asked(args, facts, {'train': args.crop_size}), args.encoding, args.seed)


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
