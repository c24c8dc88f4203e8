"""The images on a command line: finds the files, checks and reads them."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from dataset_prep.image_files import IMAGE_SUFFIXES, seen_size
from tools.inference.video import first_frame, is_video
from tools.support.errors import Fault, UserError, attempt

OPENCV_SILENT = 0  # cv2.utils.logging's level


def find_images(arguments: list[Path]) -> list[Path]:
    """The named files and the images in the named folders. Raises UserError for a folder without images and for a weight file."""
    images: list[Path] = []
    for argument in arguments:
        images.extend(images_in(argument) if argument.is_dir() else [argument])
    for image in images:
        if image.suffix == '.caffemodel':  # tools/test.py takes several files after --weights; here they would be images
            raise UserError(f'{image} is not an image; give each weight file its own --weights')
    return images


def images_in(folder: Path) -> list[Path]:
    """Image files in `folder`, sorted by name, without hidden ones (macOS's ._NAME). Raises UserError if there are none."""
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != '.')
    if not images:
        raise UserError(f'no images in folder {folder}; looked for {" ".join(sorted(IMAGE_SUFFIXES))}')
    return images


def check_image(image: Path) -> None:
    """Raise UserError if a file is missing, may not be read, or is no image."""
    try:
        with image.open('rb') as file:  # by file descriptor: OpenCV ends the program for a name that is not UTF-8
            known = cv2.haveImageReader(f'/proc/self/fd/{file.fileno()}')
    except FileNotFoundError as error:
        raise UserError(f'no image at {image}') from error
    except OSError as error:
        raise UserError(f'{image} cannot be read ({error.strerror})') from error
    if not known:
        raise UserError(f'{image} is not an image that OpenCV reads')


def read_image(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) BGR, turned by its orientation tag. Raises UserError if the file is damaged or too large."""
    try:
        content = path.read_bytes()
        image = _decoded(content)
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror})') from error
    except cv2.error as error:
        raise UserError(f'{path} cannot be read ({error.err}); cut it into smaller images, or get the file anew') from error
    if image is None or cut_off_jpeg(content):
        raise UserError(f'{path} is damaged or cut off, or has pixels that OpenCV does not decode; get the file anew')
    return image


def _decoded(content: bytes) -> np.ndarray | None:
    """The picture in a file's bytes; None if OpenCV cannot decode it. OpenCV prints nothing; the caller reports it."""
    level = cv2.utils.logging.setLogLevel(OPENCV_SILENT)
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    finally:
        cv2.utils.logging.setLogLevel(level)


def size_of(path: Path) -> tuple[int, int]:
    """Height and width that read_image will give, read from the file's header; for a video those of its first frame."""
    if is_video(path):
        height, width, _ = first_frame(path).shape
        return height, width
    width, height = seen_size(path)
    return height, width


def sizes_of(images: list[Path]) -> Iterator[tuple[int, int]]:
    """Heights and widths of the images whose headers can be read."""
    return (size for image in images if not isinstance(size := attempt(size_of, image), Fault))


def cut_off_jpeg(content: bytes) -> bool:
    """Whether a JPEG has no end marker; some versions of OpenCV fill the rest with grey. Bytes after the marker do not count.

    Skips the segments before the first scan: a thumbnail in them has its own end marker.
    """
    if not content.startswith(b'\xff\xd8'):
        return False
    place = 2
    while content[place : place + 1] == b'\xff' and content[place : place + 2] != b'\xff\xda':
        filling = content[place + 1 : place + 2] == b'\xff'
        place += 1 if filling else 2 + int.from_bytes(content[place + 2 : place + 4], 'big')
    return content.find(b'\xff\xd9', place) < 0
