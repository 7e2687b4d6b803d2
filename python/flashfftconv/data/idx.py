"""The IDX file format of the MNIST family: a magic number, the dimensions, then unsigned bytes."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

# Third byte of the magic number: the type code of unsigned bytes, the only type these data sets use.
UNSIGNED_BYTE = 0x08


class DataError(ValueError):
    """A data folder or file that is missing, damaged, or not what it should be."""


def read_idx(path: Path | str, dims: int) -> Tensor:
    """Read an IDX file of unsigned bytes, gzipped if its name ends in ``.gz``.

    Parameters
    ----------
    path : path-like
        The file.
    dims : int
        Dimensions that it must have: 3 for images, 1 for labels.

    Returns
    -------
    Tensor
        uint8, of the shape that the file's header states.

    Raises
    ------
    DataError
        If the file is missing, unreadable, cut short, too long, or of another kind. The message names the file, what
        was found and what was expected.
    """
    path = Path(path)
    content = _read_bytes(path)
    header = 4 + 4 * dims
    if len(content) < header:
        raise DataError(f"{path}: holds {len(content)} bytes, expected at least the {header} of an IDX header")
    magic, expected = content[:4], bytes([0, 0, UNSIGNED_BYTE, dims])
    if magic != expected:
        raise DataError(f"{path}: starts with 0x{magic.hex()}, expected 0x{expected.hex()} (IDX, {dims}-d, bytes)")
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dims)]
    found, stated = len(content) - header, math.prod(shape)
    if found != stated:
        size = " x ".join(map(str, shape))
        raise DataError(f"{path}: holds {found} bytes of data, expected {stated} ({size}, as its header says)")
    if stated == 0:
        raise DataError(f"{path}: holds no items, its header says {' x '.join(map(str, shape))}; expected at least one")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: is not a whole gzip file ({error}); found {len(raw)} bytes, "
            "expected a complete compressed stream (truncated or damaged on the way?)"
        ) from error
