"""The learned filter: smoothing, squash, dropout, initial values, and a lam that would kill it."""

from __future__ import annotations

import math

import pytest
import torch
from direct_filter import direct_smooth_average

from flashfftconv.nn import LongConv, smooth_average, smooth_gaussian, squash
from flashfftconv.nn.long_filter import LongFilter

H, L = 3, 12


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_squash_is_the_soft_threshold():
    taps = torch.tensor([-3.0, -0.5, -0.25, 0.0, 0.25, 0.5, 3.0], dtype=torch.float64)
    expected = torch.tensor([-2.75, -0.25, 0.0, 0.0, 0.0, 0.25, 2.75], dtype=torch.float64)
    assert torch.equal(squash(taps, 0.25), expected)
    assert torch.equal(squash(taps, 0.0), taps)


@pytest.mark.parametrize("width", [1, 3, 7, 25])
def test_average_smoothing_is_a_zero_padded_moving_average(width):
    taps = torch.randn(2, H, L, dtype=torch.float64)
    torch.testing.assert_close(smooth_average(taps, width), direct_smooth_average(taps, width), rtol=1e-13, atol=1e-14)


def test_gaussian_smoothing_is_a_convolution_with_a_gaussian():
    length, width = 64, 7
    impulse = torch.zeros(1, 1, length, dtype=torch.float64)
    impulse[..., 32] = 1
    deviation = math.sqrt((width**2 - 1) / 12)
    lag = torch.arange(length, dtype=torch.float64) - 32
    gaussian = torch.exp(-0.5 * (lag / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
    torch.testing.assert_close(smooth_gaussian(impulse, width)[0, 0], gaussian, rtol=0, atol=1e-6)
    edge = torch.zeros(1, 1, length, dtype=torch.float64)
    edge[..., 0] = 1
    assert smooth_gaussian(edge, width)[0, 0, -5:].abs().max() < 1e-6, "the ends must not mix"


def test_filter_dropout_is_elementwise_and_inverted():
    bank = LongFilter(2, 40, 50, init="random", dropout=0.25)
    bank.train()
    ratio = bank().detach() / bank.weight.detach()
    kept = ratio != 0
    torch.testing.assert_close(ratio[kept], torch.full_like(ratio[kept], 1 / 0.75))
    assert abs(kept.double().mean().item() - 0.75) < 0.03
    assert 0 < kept[0, 0].sum() < 50, "single taps drop, not whole filters"
    bank.eval()
    assert torch.equal(bank(), bank.weight)


def test_initialisations_have_the_published_scales():
    random = LongFilter(1, 64, 2000, init="random").weight
    assert abs(random.std().item() / 0.002 - 1) < 0.02
    geometric = LongFilter(1, 64, 2000, init="geometric").weight[0]
    for channel in (0, 32, 63):
        rate = 32 ** (channel / 64)
        scale = 0.02 * torch.exp(-rate * torch.arange(2000) / 2000)
        normal = geometric[channel] / scale
        assert abs(normal.std().item() - 1) < 0.08
        assert abs(normal[1000:].std().item() - 1) < 0.1, "decay at the far end"
    skip = LongConv(64, 8, heads=8).skip
    assert skip.shape == (8, 64)
    assert abs(skip.std().item() - 1) < 0.1


def test_lam_that_zeroes_every_tap_is_refused_at_construction():
    with pytest.raises(
        ValueError, match=r"lam is 0\.1.*every tap.*largest \|tap\| is 0\.00.*lam must lie in \[0, 0\.00"
    ):
        LongConv(H, L, init="random", lam=0.1)


def test_lam_that_zeroes_every_tap_is_refused_later_too():
    layer = LongConv(H, L, lam=0.001)
    with torch.no_grad():
        layer.filter.weight.mul_(0.01)
    with pytest.raises(ValueError, match=r"lam is 0\.001"):
        layer(torch.randn(1, H, L))


def test_lam_is_judged_after_smoothing():
    bank = LongFilter(1, 1, 9, init="random", lam=0.0)
    with torch.no_grad():
        bank.weight.zero_()
        bank.weight[..., 4] = 0.007
    bank.lam = 0.002
    bank()
    bank.smooth = "average"
    with pytest.raises(ValueError, match=r"after average smoothing is 0\.001"):
        bank()
