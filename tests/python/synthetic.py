"""Small data sets for the tests: shapes of light on dark, written as the IDX files of Fashion-MNIST."""

from __future__ import annotations

import gzip
from pathlib import Path

import torch
from torch import Tensor

from flashfftconv.data.fashion_mnist import FILE_STEMS, SIDE


def idx_bytes(values: Tensor, magic: bytes | None = None) -> bytes:
    """An IDX file of unsigned bytes with these values."""
    header = magic or bytes([0, 0, 8, values.dim()])
    return header + b"".join(size.to_bytes(4, "big") for size in values.shape) + bytes(values.flatten().tolist())


def make_images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (count, 28, 28) with horizontal stripes whose spacing tells the class, noise on top, and labels (count,).

    All classes have about the same histogram of pixels: only order tells them apart.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 10
    position = torch.arange(SIDE * SIDE)
    images = ((position // (labels[:, None] + 1)) % 2) * 180
    images = images + torch.randint(0, 60, images.shape, generator=generator)
    return images.to(torch.uint8).reshape(count, SIDE, SIDE), labels.to(torch.uint8)


def write_data(folder: Path, train: int = 200, test: int = 60, compress: bool = True) -> Path:
    """A data folder with these numbers of images."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {}
    parts["train_images"], parts["train_labels"] = make_images(train, seed=1)
    parts["test_images"], parts["test_labels"] = make_images(test, seed=2)
    for name, stem in FILE_STEMS.items():
        content = idx_bytes(parts[name])
        path = folder / (stem + ".gz" if compress else stem)
        path.write_bytes(gzip.compress(content, 1) if compress else content)
    return folder
