"""Readers of data sets from local files; nothing here downloads anything."""

from .fashion_mnist import CLASS_NAMES, DataError, ImageSet, load_fashion_mnist, to_sequences
from .idx import read_idx

__all__ = ["CLASS_NAMES", "DataError", "ImageSet", "load_fashion_mnist", "read_idx", "to_sequences"]
