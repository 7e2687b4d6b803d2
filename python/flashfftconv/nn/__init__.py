"""Layers and models built on long convolutions."""

from .classifier import LongConvClassifier, PointwiseControl
from .hyena import HyenaOperator
from .long_conv import LongConv
from .long_filter import LongFilter, smooth_average, smooth_gaussian, squash
from .optim import parameter_groups
from .pointwise import PointwiseMixer

__all__ = [
    "HyenaOperator",
    "LongConv",
    "LongConvClassifier",
    "LongFilter",
    "PointwiseControl",
    "PointwiseMixer",
    "parameter_groups",
    "smooth_average",
    "smooth_gaussian",
    "squash",
]
