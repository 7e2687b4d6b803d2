"""Bad input: which exception, and that it names the argument, what came and what is allowed; nothing is changed."""

import gc
import re
import weakref

import pytest
import torch

from flashfftconv import Filter, FlashFFTConv, compat, explain, long_conv

B, H, L = 2, 3, 40


def rows(*shape, dtype=torch.float32, device="cpu"):
    return torch.ones(shape or (B, H, L), dtype=dtype, device=device)


def taps(*shape, dtype=torch.float32, device="cpu"):
    return torch.ones(shape or (H, L), dtype=dtype, device=device)


# (id, arguments that differ from a good causal call, exception, parts of the message: argument, value, allowed)
BAD = [
    ("u of rank 2", {"u": rows(H, L)}, ValueError, ["u", "[3, 40]", "[batch, channels, length]"]),
    ("u of rank 4", {"u": rows(1, B, H, L)}, ValueError, ["u", "[1, 2, 3, 40]", "[batch, channels, length]"]),
    ("u scalar", {"u": torch.tensor(1.0)}, ValueError, ["u", "[]", "[batch, channels, length]"]),
    ("u of length 0", {"u": rows(B, H, 0)}, ValueError, ["u", "[2, 3, 0]", "length must be at least 1"]),
    ("u not a tensor", {"u": [[[1.0]]]}, TypeError, ["u", "list", "torch.Tensor"]),
    ("u None", {"u": None}, TypeError, ["u", "NoneType", "torch.Tensor"]),
    (
        "u int64",
        {"u": rows(dtype=torch.int64)},
        TypeError,
        ["u", "torch.int64", "float16, bfloat16, float32 or float64"],
    ),
    ("u bool", {"u": rows(dtype=torch.bool)}, TypeError, ["u", "torch.bool", "float32"]),
    ("u complex", {"u": rows(dtype=torch.complex64)}, TypeError, ["u", "torch.complex64", "float32"]),
    ("u float8", {"u": rows().to(torch.float8_e4m3fn)}, TypeError, ["u", "torch.float8_e4m3fn", "float32"]),
    ("k not a tensor", {"k": "filter"}, TypeError, ["k", "str", "torch.Tensor"]),
    ("k int32", {"k": taps(dtype=torch.int32)}, TypeError, ["k", "torch.int32", "float32"]),
    ("k of rank 1", {"k": taps(L)}, ValueError, ["k", "[40]", "[channels, taps]"]),
    ("k of rank 3", {"k": taps(2, H, L)}, ValueError, ["k", "[2, 3, 40]", "[1, channels, taps]"]),
    ("k of rank 4", {"k": taps(1, 1, H, L)}, ValueError, ["k", "[1, 1, 3, 40]", "[channels, taps]"]),
    ("k without taps", {"k": taps(H, 0)}, ValueError, ["k", "[3, 0]", "at least 1 tap"]),
    ("k of other channels", {"k": taps(H + 1, L)}, ValueError, ["k", "4 channels", "u has 3"]),
    ("k of one channel", {"k": taps(1, L)}, ValueError, ["k", "1 channels", "u has 3"]),
    ("k on another device", {"k": taps(device="meta")}, ValueError, ["k", "meta", "cpu"]),
    ("u on another device", {"u": rows(device="meta")}, ValueError, ["k", "cpu", "meta"]),
    ("pregate of another shape", {"pregate": rows(B, H, L - 1)}, ValueError, ["pregate", "[2, 3, 39]", "[2, 3, 40]"]),
    ("postgate to broadcast", {"postgate": rows(1, H, L)}, ValueError, ["postgate", "[1, 3, 40]", "[2, 3, 40]"]),
    (
        "pregate of another type",
        {"pregate": rows(dtype=torch.float16)},
        TypeError,
        ["pregate", "torch.float16", "torch.float32"],
    ),
    ("postgate integer", {"postgate": rows(dtype=torch.int8)}, TypeError, ["postgate", "torch.int8", "float32"]),
    ("postgate not a tensor", {"postgate": 1.0}, TypeError, ["postgate", "float", "torch.Tensor"]),
    ("pregate on another device", {"pregate": rows(device="meta")}, ValueError, ["pregate", "meta", "cpu"]),
    ("skip of another shape", {"skip": taps(H + 1)}, ValueError, ["skip", "[4]", "[3]"]),
    ("skip of rank 2", {"skip": taps(H, 1)}, ValueError, ["skip", "[3, 1]", "[3]"]),
    ("skip a number", {"skip": 1.0}, TypeError, ["skip", "float", "torch.Tensor"]),
    ("skip integer", {"skip": taps(H, dtype=torch.int64)}, TypeError, ["skip", "torch.int64", "float32"]),
    ("skip on another device", {"skip": taps(H, device="meta")}, ValueError, ["skip", "meta", "cpu"]),
    ("unknown mode", {"mode": "valid"}, ValueError, ["mode", "'valid'", "'circular', 'causal', 'bidirectional'"]),
    ("mode a number", {"mode": 1}, ValueError, ["mode", "1", "'causal'"]),
    ("mode None", {"mode": None}, ValueError, ["mode", "None", "'causal'"]),
    ("mode a list", {"mode": ["causal"]}, (TypeError, ValueError), ["mode", "['causal']", "'causal'"]),
    ("k_rev in causal mode", {"k_rev": taps()}, ValueError, ["k_rev", "'bidirectional'", "'causal'"]),
    (
        "k_rev in circular mode",
        {"k_rev": taps(), "mode": "circular", "fft_size": L},
        ValueError,
        ["k_rev", "'bidirectional'", "'circular'"],
    ),
    ("k_rev missing", {"mode": "bidirectional"}, ValueError, ["k_rev", "missing", "'bidirectional'"]),
    ("k_rev of rank 1", {"mode": "bidirectional", "k_rev": taps(L)}, ValueError, ["k_rev", "[40]", "[channels, taps]"]),
    (
        "k_rev of rank 3",
        {"mode": "bidirectional", "k_rev": taps(1, H, L)},
        ValueError,
        ["k_rev", "[1, 3, 40]", "[channels, taps]"],
    ),
    (
        "k_rev without taps",
        {"mode": "bidirectional", "k_rev": taps(H, 0)},
        ValueError,
        ["k_rev", "[3, 0]", "at least 1 tap"],
    ),
    ("k_rev of other channels", {"mode": "bidirectional", "k_rev": taps(2, L)}, ValueError, ["k_rev", "[2, 40]", "3"]),
    (
        "k_rev of another type",
        {"mode": "bidirectional", "k_rev": taps(dtype=torch.float64)},
        TypeError,
        ["k_rev", "float64", "float32"],
    ),
    (
        "k_rev on another device",
        {"mode": "bidirectional", "k_rev": taps(device="meta")},
        ValueError,
        ["k_rev", "meta", "cpu"],
    ),
    ("k_rev_lag 2", {"mode": "bidirectional", "k_rev": taps(), "k_rev_lag": 2}, ValueError, ["k_rev_lag", "2", "0"]),
    ("k_rev_lag -1", {"mode": "bidirectional", "k_rev": taps(), "k_rev_lag": -1}, ValueError, ["k_rev_lag", "-1", "0"]),
    (
        "k_rev_lag None",
        {"mode": "bidirectional", "k_rev": taps(), "k_rev_lag": None},
        (TypeError, ValueError),
        ["k_rev_lag", "None", "0"],
    ),
    (
        "k_rev_lag a float",
        {"mode": "bidirectional", "k_rev": taps(), "k_rev_lag": 1.0},
        (TypeError, ValueError),
        ["k_rev_lag", "1.0", "0"],
    ),
    ("fft_size missing", {"mode": "circular"}, ValueError, ["fft_size", "missing", "'circular'"]),
    ("fft_size in causal mode", {"fft_size": 64}, ValueError, ["fft_size", "64", "'circular'"]),
    ("fft_size 0", {"mode": "circular", "fft_size": 0}, ValueError, ["fft_size", "0", "at least 1"]),
    ("fft_size -8", {"mode": "circular", "fft_size": -8}, ValueError, ["fft_size", "-8", "at least 1"]),
    ("fft_size a float", {"mode": "circular", "fft_size": 64.0}, (TypeError, ValueError), ["fft_size", "64.0", "int"]),
    ("fft_size a string", {"mode": "circular", "fft_size": "64"}, (TypeError, ValueError), ["fft_size", "'64'", "int"]),
    (
        "fft_size beyond 64 bits",
        {"mode": "circular", "fft_size": 2**64},
        (TypeError, ValueError),
        ["fft_size", str(2**64), "at most"],
    ),
    ("L beyond N", {"mode": "circular", "fft_size": 39, "k": taps(H, 5)}, ValueError, ["u", "40", "at most 39"]),
    ("Lk beyond N", {"mode": "circular", "fft_size": 45, "k": taps(H, 50)}, ValueError, ["k", "50", "at most 45"]),
]


def check_message(error, parts):
    text = str(error)
    assert re.match(rf"{parts[0]}\b", text) or re.search(rf"\b{parts[0]}\b", text), text
    for part in parts[1:]:
        assert part in text, f"{part!r} is not in: {text}"
    assert "\n" not in text and "Traceback" not in text


@pytest.mark.parametrize(("changed", "exception", "parts"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_long_conv(changed, exception, parts):
    call = {"u": rows(), "k": taps(), "mode": "causal"} | changed
    kept = {name: t.clone() for name, t in call.items() if isinstance(t, torch.Tensor) and t.device.type == "cpu"}
    with pytest.raises(exception) as caught:
        long_conv(**call)
    check_message(caught.value, parts)
    for name, t in kept.items():
        assert torch.equal(
            call[name].float() if t.dtype == torch.float8_e4m3fn else call[name],
            t.float() if t.dtype == torch.float8_e4m3fn else t,
        )


@pytest.mark.parametrize("how", ["grad", "no grad", "meta"])
@pytest.mark.parametrize(("changed", "exception", "parts"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_long_conv_however_it_is_called(changed, exception, parts, how):
    """The kernels refuse some of these calls, and none may come to an answer where something else takes the call."""
    call = {"u": rows(), "k": taps(), "mode": "causal"} | changed
    if how == "meta":
        call = {name: t.to("meta") if isinstance(t, torch.Tensor) else t for name, t in call.items()}
        if {t.device.type for t in changed.values() if isinstance(t, torch.Tensor)} & {"meta"}:
            pytest.skip("all are on one device then")
    elif isinstance(call["k"], torch.Tensor) and call["k"].is_floating_point():
        call["k"] = torch.nn.Parameter(call["k"])
    with torch.set_grad_enabled(how == "grad"), pytest.raises(exception) as caught:
        long_conv(**call)
    check_message(caught.value, parts)


@pytest.mark.parametrize(
    "changed", [{"k": taps(H + 1, L)}, {"k_rev_lag": 7}], ids=["found by a check", "the kernel's own"]
)
def test_an_error_keeps_no_tensor(changed):
    u = rows()
    gone = weakref.ref(u)
    gc.collect()
    gc.disable()
    try:
        long_conv(**({"u": u, "k": taps()} | changed))
    except (ValueError, RuntimeError):
        del u
    finally:
        gc.enable()
    assert gone() is None


ROWS_ONLY = {"pregate", "postgate", "skip"}
FILTER_BAD = [b for b in BAD if not ROWS_ONLY & set(b[1])]


@pytest.mark.parametrize(("changed", "exception", "parts"), [b[1:] for b in FILTER_BAD], ids=[b[0] for b in FILTER_BAD])
def test_explain(changed, exception, parts):
    with pytest.raises(exception) as caught:
        explain(**({"u": rows(), "k": taps(), "mode": "causal"} | changed))
    check_message(caught.value, parts)


# What concerns the filter alone is refused when a Filter is made, not at its first use.
MADE_BAD = [
    b
    for b in FILTER_BAD
    if "u" not in b[1] and b[0] not in ("L beyond N", "k of other channels", "k of one channel", "k on another device")
]


@pytest.mark.parametrize(("changed", "exception", "parts"), [b[1:] for b in MADE_BAD], ids=[b[0] for b in MADE_BAD])
def test_filter(changed, exception, parts):
    with pytest.raises(exception) as caught:
        Filter(**({"k": taps(), "mode": "causal"} | changed))
    check_message(caught.value, parts)


@pytest.mark.parametrize(
    ("given", "exception", "parts"),
    [
        ({"seqlen": 0}, ValueError, ["seqlen", "0", "at least 1"]),
        ({"seqlen": -4}, ValueError, ["seqlen", "-4", "at least 1"]),
        ({"seqlen": 4.0}, TypeError, ["seqlen", "4.0", "int"]),
        ({"seqlen": "4"}, TypeError, ["seqlen", "'4'", "int"]),
        ({"seqlen": True}, TypeError, ["seqlen", "True", "int"]),
        ({"seqlen": 8, "dtype": torch.int32}, TypeError, ["dtype", "torch.int32", "float32"]),
        ({"seqlen": 8, "dtype": "float16"}, TypeError, ["dtype", "float16", "bfloat16"]),
    ],
    ids=str,
)
def test_the_module(given, exception, parts):
    with pytest.raises(exception) as caught:
        FlashFFTConv(**given)
    check_message(caught.value, parts)


@pytest.mark.parametrize(
    ("u", "k", "parts"),
    [
        (rows(), taps(H, 4), ["u", "40", "at most 32"]),
        (rows(B, H, 9), taps(H, 33), ["k", "33", "at most 32"]),
        (rows(B, H, 9), taps(5, 9), ["k", "5 channels", "u has 3"]),
    ],
)
def test_calls_of_the_module(u, k, parts):
    with pytest.raises(ValueError) as caught:
        FlashFFTConv(32)(u, k)
    check_message(caught.value, parts)


@pytest.mark.parametrize(
    "given",
    [{"mode": "bidirectional"}, {"mode": "circular"}, {"k_rev_lag": 0}, {"k_rev": taps()}, {"fft_size": 80}],
    ids=lambda given: next(iter(given)),
)
def test_a_filter_carries_its_own_arguments(given):
    with pytest.raises(ValueError, match=f"k is a Filter.*{next(iter(given))}"):
        long_conv(rows(), Filter(taps()), **given)


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({"v": rows(B, H, 3)}, ["v", "[2, 3, 3]"]),
        ({"D": taps(H + 1)}, ["D", "[4]"]),
        ({"head_dim": 3}, ["head_dim", "v", "q"]),
        ({"head_dim": 2, "v": rows(), "q": rows()}, ["head_dim", "2", "3 channels"]),
        ({"head_dim": 0}, ["head_dim", "0"]),
        ({"dropout_mask": taps(B, H + 1)}, ["dropout_mask", "[2, 4]", "[2, 3]"]),
        ({"q": rows(B, H, 3)}, ["q", "[2, 3, 3]", "[2, 3, 40]"]),
        ({"head_dim": 3, "v": rows(), "q": rows(), "k": taps(H, L)}, ["k", "[3, 40]", "1"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "-".join(value),
)
def test_fftconv_func(changed, parts):
    with pytest.raises((ValueError, TypeError)) as caught:
        compat.fftconv_func(**({"u": rows(), "k": taps(), "D": taps(H)} | changed))
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"
