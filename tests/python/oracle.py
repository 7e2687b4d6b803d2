"""What a long convolution is, in float64, in two ways that share no code with the package.

`direct_sum` adds tap by tap what "The operation" defines; `fft_sum` takes a full linear convolution by torch.fft and
picks, or folds modulo the FFT size. Both are made of plain differentiable torch operations: their gradients are
autograd's.
"""

import torch
import torch.nn.functional as F


def shifted(x, lag):
    """s[i] = x[i - lag], zero where i - lag leaves the row; a negative lag looks ahead."""
    length = x.shape[-1]
    if abs(lag) >= length:
        return torch.zeros_like(x)
    return F.pad(x[..., : length - lag], (lag, 0)) if lag >= 0 else F.pad(x[..., -lag:], (0, -lag))


def direct_sum(x, k, mode, k_rev=None, k_rev_lag=1, fft_size=None):
    """sum_j k[h, j] x[b, h, i - j], with the indices of the mode."""
    length = x.shape[-1]
    y = torch.zeros_like(x)
    if mode == "circular":
        extended = F.pad(x, (0, fft_size - length))
        index = torch.arange(length)
        for j in range(k.shape[-1]):
            y = y + k[:, j, None] * extended[..., (index - j) % fft_size]
        return y
    for j in range(k.shape[-1]):
        y = y + k[:, j, None] * shifted(x, j)
    if mode == "bidirectional":
        for j in range(k_rev.shape[-1]):
            y = y + k_rev[:, j, None] * shifted(x, -(j + k_rev_lag))
    return y


def fft_sum(x, k, mode, k_rev=None, k_rev_lag=1, fft_size=None):
    """The same sums: the taps of all lags in a row, one linear convolution, then the samples that the mode asks for."""
    length, ahead, taps = x.shape[-1], 0, k
    if mode == "bidirectional":
        ahead = k_rev.shape[-1] - 1 + k_rev_lag  # the first tap of the row acts at lag -ahead
        back = F.pad(k_rev.flip(-1), (0, k_rev_lag - 1 + k.shape[-1]))
        taps = back + F.pad(k, (ahead, 0))
    full = length + taps.shape[-1] - 1
    points = 1 << full.bit_length()
    linear = torch.fft.irfft(torch.fft.rfft(x, n=points) * torch.fft.rfft(taps, n=points), n=points)[..., :full]
    if mode != "circular":
        return F.pad(linear, (0, max(0, ahead + length - full)))[..., ahead : ahead + length]
    folded = F.pad(linear, (0, -full % fft_size)).unflatten(-1, (-1, fft_size)).sum(-2)
    return folded[..., :length]


def operation(inputs, how, convolve=direct_sum):
    """y = postgate (sum + skip x), x = pregate u, of inputs by name (those that are absent are None)."""
    wide = {name: None if t is None else t.double() for name, t in inputs.items()}
    x = wide["u"] if wide["pregate"] is None else wide["u"] * wide["pregate"]
    y = convolve(x, wide["k"].squeeze(0) if wide["k"].dim() == 3 else wide["k"], k_rev=wide["k_rev"], **how)
    if wide["skip"] is not None:
        y = y + wide["skip"][:, None] * x
    return y if wide["postgate"] is None else y * wide["postgate"]


def gradients(inputs, how, dy, convolve=direct_sum):
    """The float64 gradients of sum(dy * operation) in every tensor that is present, by name."""
    wide = {name: None if t is None else t.detach().double().requires_grad_() for name, t in inputs.items()}
    present = [name for name, t in wide.items() if t is not None]
    y = operation(wide, how, convolve)
    grads = torch.autograd.grad(y, [wide[name] for name in present], dy.double(), allow_unused=True)
    return {name: torch.zeros_like(wide[name]) if g is None else g for name, g in zip(present, grads, strict=True)}
