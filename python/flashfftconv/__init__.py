"""Long convolutions, fast and right: a drop-in for FlashFFTConv, and the models built from them.

>>> from flashfftconv import FlashFFTConv, long_conv
"""

from . import compat
from .functional import Filter, explain, long_conv
from .info import __version__, backend_info
from .modules import FlashDepthWiseConv1d, FlashFFTConv
from .short import explain_short, short_conv, short_conv_gate

FlashDepthwiseConv1d = FlashDepthWiseConv1d  # as some clients spell it

__all__ = [
    "Filter",
    "FlashDepthWiseConv1d",
    "FlashDepthwiseConv1d",
    "FlashFFTConv",
    "__version__",
    "backend_info",
    "compat",
    "explain",
    "explain_short",
    "long_conv",
    "short_conv",
    "short_conv_gate",
]
