"""Rows of small pictures for a page (strips.html), each a file's bytes in an address."""

import base64
from dataclasses import dataclass

import cv2
import numpy as np

from tools.report.pictures import data_uri
from tools.support.sheets import scaled


@dataclass(frozen=True)
class Picture:
    """A picture with what stands below it."""

    caption: str
    uri: str


@dataclass(frozen=True)
class Row:
    """Pictures of one image."""

    title: str
    pictures: tuple[Picture, ...]


def photo(image: np.ndarray, width: int) -> str:
    """A photograph as a data URI."""
    content = cv2.imencode('.jpg', scaled(image, width=min(width, image.shape[1])))[1].tobytes()
    return 'data:image/jpeg;base64,' + base64.b64encode(content).decode()


def drawing(picture: np.ndarray, width: int) -> str:
    """A label map in colours, which stay what they are."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return data_uri(cv2.imencode('.png', cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST))[1].tobytes())
