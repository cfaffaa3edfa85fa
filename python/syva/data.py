"""Named sets of images, as NumPy arrays. The files are those that the command `syva` finds or downloads."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from . import _native


class Images(NamedTuple):
    """Images `[samples, height, width]` as bytes, and their labels `[samples]`."""

    images: np.ndarray
    labels: np.ndarray


class ImageSet(NamedTuple):
    """The training and the test part of a set of images."""

    train: Images
    test: Images


def _open(name: str, folder: str | os.PathLike[str] | None) -> ImageSet:
    train, test = _native.images(name, folder)
    return ImageSet(Images(*train), Images(*test))


def mnist(folder: str | os.PathLike[str] | None = None) -> ImageSet:
    """MNIST: 60,000 and 10,000 images of 28 x 28. From the folder, $SYVA_MNIST_DIR, or the cache, else downloaded."""
    return _open("mnist", folder)


def fashion_mnist(folder: str | os.PathLike[str] | None = None) -> ImageSet:
    """Fashion-MNIST: 60,000 and 10,000 images of 28 x 28 of clothes."""
    return _open("fashion-mnist", folder)


def digits() -> ImageSet:
    """Digits much like MNIST's, which Syvä draws itself: nothing is downloaded.

    >>> import syva
    >>> syva.data.digits().train.images.shape
    (60000, 28, 28)
    """
    return _open("digits", None)
