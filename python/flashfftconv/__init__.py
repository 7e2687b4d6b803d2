"""Long convolutions, fast and right: a drop-in for FlashFFTConv, and the models built from them.

>>> from flashfftconv import FlashFFTConv, long_conv
"""

from . import compat
from .functional import Filter, explain, long_conv
from .info import __version__, backend_info
from .modules import FlashFFTConv

__all__ = ["Filter", "FlashFFTConv", "__version__", "backend_info", "compat", "explain", "long_conv"]
