"""Fashion-MNIST: grey images of 28 x 28 pixels in ten classes, from the four IDX files of the data set.

Debian ships them as the package dataset-fashion-mnist; any folder with these files will do.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .idx import DataError, read_idx

SIDE = 28
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# Mean and standard deviation of all training pixels, on the scale 0 to 1.
PIXEL_MEAN = 0.2860
PIXEL_DEVIATION = 0.3530

FILE_STEMS = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class ImageSet:
    """Images as rows of pixels, uint8 (N, 784), and labels, int64 (N,), for training and test."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def fingerprint(self) -> dict[str, int]:
        """Sizes and a checksum of all pixels and labels: tells whether a checkpoint saw the same data."""
        checksum = 0
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            checksum = zlib.crc32(part.contiguous().numpy().tobytes(), checksum)
        return {"train": len(self.train_labels), "test": len(self.test_labels), "crc32": checksum}


def load_fashion_mnist(folder: Path | str) -> ImageSet:
    """Read Fashion-MNIST from a folder with its four files, gzipped or not.

    Raises
    ------
    DataError
        If the folder or a file is missing, a file is damaged, images are not 28 x 28, labels are not 0 to 9, or the
        numbers of images and labels differ. The message names the file, what was found and what was expected.
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"data folder {folder} {found}; expected a folder with {_expected_files()}")
    paths = {name: _find(folder, stem) for name, stem in FILE_STEMS.items()}
    parts = {}
    for part in ("train", "test"):
        images_path, labels_path = paths[f"{part}_images"], paths[f"{part}_labels"]
        images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
        if tuple(images.shape[1:]) != (SIDE, SIDE):
            size = f"{images.shape[1]} x {images.shape[2]}"
            raise DataError(f"{images_path}: holds images of {size} pixels, expected {SIDE} x {SIDE}")
        if len(images) != len(labels):
            raise DataError(
                f"{labels_path}: holds {len(labels)} labels, expected {len(images)}, one for each image of "
                f"{images_path.name}"
            )
        if int(labels.max()) >= len(CLASS_NAMES):
            raise DataError(f"{labels_path}: holds the label {int(labels.max())}, expected 0 to {len(CLASS_NAMES) - 1}")
        parts[f"{part}_images"] = images.reshape(len(images), SIDE * SIDE)
        parts[f"{part}_labels"] = labels.long()
    return ImageSet(**parts)


def to_sequences(images: Tensor) -> Tensor:
    """Normalise pixels: uint8 (N, 784) to float32 sequences (N, 784, 1) of mean 0 and deviation 1 over the data set."""
    return images.to(torch.float32).div_(255.0).sub_(PIXEL_MEAN).div_(PIXEL_DEVIATION).unsqueeze(-1)


def _find(folder: Path, stem: str) -> Path:
    for name in (f"{stem}.gz", stem):
        if (folder / name).is_file():
            return folder / name
    present = sorted(entry.name for entry in folder.iterdir())
    listing = ", ".join(present[:8]) + (", ..." if len(present) > 8 else "") if present else "nothing"
    raise DataError(f"{folder / stem}.gz is missing; found {listing}; expected {_expected_files()}")


def _expected_files() -> str:
    return ", ".join(f"{stem}.gz" for stem in FILE_STEMS.values())
