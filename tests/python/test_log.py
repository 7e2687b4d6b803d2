"""FFC_LOG shows plans as they are made; explain and the operators behind it say what runs, and why not."""

import logging
import os
import subprocess
import sys

import pytest
import torch

from flashfftconv import log

_ops = torch.ops.flashfftconv
PROGRAM = """
import torch
from flashfftconv import long_conv
u, k = torch.randn(2, 3, 300), torch.randn(3, 300)
for _ in range(3):
    long_conv(u, k)
long_conv(u.double(), k)
"""


def shown(value: str | None, before: str = "") -> str:
    environment = {name: v for name, v in os.environ.items() if name != "FFC_LOG"}
    if value is not None:
        environment["FFC_LOG"] = value
    done = subprocess.run(
        [sys.executable, "-c", before + PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr


def test_each_plan_is_shown_once():
    text = shown("1")
    assert text.count("causal convolution [2, 3, 300] * 300 taps, float32") == 1
    assert text.count("causal convolution [2, 3, 300] * 300 taps, float64") == 1
    assert text.startswith("flashfftconv: ") and "why" in text


@pytest.mark.parametrize("value", [None, "", "0"])
def test_nothing_is_shown_otherwise(value):
    assert shown(value) == ""


def test_the_programs_own_logging_shows_it():
    text = shown("1", "import logging; logging.basicConfig(format='mine %(name)s %(levelname)s')\n")
    assert text.splitlines() == ["mine flashfftconv INFO"] * 2


def test_the_operator_logs(caplog):
    with caplog.at_level(logging.INFO, log.logger.name):
        _ops.log("a plan\n")
    assert caplog.messages == ["a plan"]


PROBLEM = (2, 3, 300, 300, 0, 1, 0, 1)  # batch, channels, length, taps, taps of k_rev, mode, fft_size, k_rev_lag


def test_why_not():
    half, single = 0, 2
    assert _ops.why_not(*PROBLEM, half) == "" and _ops.why_not(*PROBLEM, half, backward=True) == ""
    for_a_gpu = _ops.why_not(*PROBLEM, single, single, 0)
    assert "CUDA 0" in for_a_gpu and ("float32" in for_a_gpu or "no CUDA engine" in for_a_gpu)
    with pytest.raises(RuntimeError, match="length"):
        _ops.why_not(2, 3, -300, 300, 0, 1, 0, 1, half)
    assert "built" in _ops.cuda_engine(0)


def test_errors_of_torch_fft_keep_their_type():
    """What C++ cannot hand on is kept for the caller."""
    from flashfftconv import dispatch

    u, k = torch.randn(2, 3, 30), torch.randn(3, 30)
    with pytest.raises(ValueError, match=r"skip has shape \[7\]"):
        _ops.long_conv_by_fft(u, k, None, None, None, torch.ones(7), 1, 0, 1)
    with pytest.raises(ValueError, match=r"skip has shape \[7\]"):
        dispatch.raise_cause(RuntimeError("flashfftconv::long_conv_by_fft failed"), u.device)
    assert dispatch.last_error() is None
    dispatch.raise_cause(RuntimeError("something else"), u.device)
    with pytest.raises(torch.OutOfMemoryError, match="12 bytes"):
        dispatch.raise_cause(RuntimeError("no memory for 12 bytes on CUDA 0"), u.device)
    with pytest.raises(RuntimeError, match="memory"):
        dispatch.raise_cause(RuntimeError(f"no memory for {2**60} bytes on CUDA 0"), u.device)
