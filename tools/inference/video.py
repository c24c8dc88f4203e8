"""Labels a video frame by frame and writes the label maps in colour as another video."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dataset_prep.datasets import Dataset
from tools.inference.pictures import colorize
from tools.inference.predictor import Predictor
from tools.support.atomic import whole_file
from tools.support.errors import UserError

VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')  # in lower case
CODEC = 'mp4v'  # MPEG-4, which OpenCV's wheels write on every platform
FFMPEG_QUIET, OPENCV_ERRORS = '-8', 2  # levels of what they print
USUAL_FPS = 25.0  # for a file that does not state it


def is_video(path: Path) -> bool:
    """Whether a file is a video by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def first_frame(path: Path) -> np.ndarray:
    """The first frame of a video, uint8 (H, W, 3) BGR. Raises UserError if no frame can be read."""
    with _opened(path) as capture:
        return next(_frames(path, capture))


def label_video(predictor: Predictor, path: Path, facts: Dataset, out: Path) -> None:
    """Label the frames of the video `path` and write the maps in colour to `out`, an .mp4.

    After Ctrl-C, or if the video ends too soon, the frames so far become a whole video `<out>-first-N.mp4`. Raises UserError for
    a damaged or cut-off video. MPEG-4 needs even sides, so an odd last row or column is left out.
    """
    with _opened(path) as capture, whole_file(out) as temporary:
        fps, expected = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        fps = fps if 0 < fps < np.inf else USUAL_FPS
        writer, done, complete = None, 0, False
        try:
            for frame in tqdm(_frames(path, capture), total=max(expected, 0) or None, unit='frame', desc=path.name, disable=None):
                labelled = colorize(predictor.label_map(frame), facts)
                writer = writer or _writer(temporary, fps, labelled)
                writer.write(labelled)
                done += 1
            complete = done >= expected - min(fps, expected / 10)  # some files state their length only roughly
        finally:
            if writer:
                writer.release()
            if done and not complete:
                part = out.with_stem(f'{out.stem}-first-{done}')
                os.replace(temporary, part)
                print(f'{part} has the first {done} frames', file=sys.stderr)
        if not complete:
            raise UserError(f'{path} ends after {done} of {expected} frames, cut off or damaged; get the file anew')
        if not _is_readable(temporary):
            raise UserError(f'{out} could not be written whole, which OpenCV does not explain; is there room on the disk?')


def _is_readable(path: Path) -> bool:
    """Whether a video has a frame that can be read."""
    try:
        first_frame(path)
    except UserError:
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    """A video file for reading. UserError if it cannot be opened."""
    try:
        with path.open('rb'):
            str(path).encode()
    except FileNotFoundError as error:
        raise UserError(f'no video at {path}') from error
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror})') from error
    except UnicodeEncodeError as error:
        raise UserError(f'{path} has a name that is not UTF-8, which OpenCV cannot open; rename it') from error
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', FFMPEG_QUIET)  # FFmpeg and OpenCV print nothing; our error says it
    level = cv2.utils.logging.setLogLevel(OPENCV_ERRORS)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise UserError(f'{path} is not a video that OpenCV reads, or is damaged; get the file anew, or convert it to .mp4')
        yield capture
    finally:
        capture.release()


def _frames(path: Path, capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """The readable frames, turned as the file says. Raises UserError if there is none."""
    there, frame = capture.read()
    if not there:
        raise UserError(f'no frame of {path} can be read; get the file anew')
    while there:
        yield frame
        there, frame = capture.read()


def _writer(path: Path, fps: float, frame: np.ndarray) -> cv2.VideoWriter:
    """A new video for frames of this size."""
    height, width = frame.shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODEC), fps, (width, height))
    if not writer.isOpened():
        raise UserError(f'OpenCV cannot write a video of {width}x{height} at {fps:g} frames a second to {path.parent}')
    return writer
