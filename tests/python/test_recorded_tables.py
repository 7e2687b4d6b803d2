"""The GPU tables of docs/PERFORMANCE.md and README.md say what the recorded rows say, and bold means that a bar is met.

Bars: multiples of the floor at float16, by mode and n; bfloat16 may take 1.2 times as much.
"""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PERFORMANCE = (ROOT / "docs/PERFORMANCE.md").read_text()
README = (ROOT / "README.md").read_text()
ROWS = [json.loads(line) for line in (ROOT / "bench/results/cuda-2026-11-28.jsonl").read_text().splitlines()]

N = [256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]
FORWARD_BARS = {
    "gated circular": [2, 2, 1.25, 1.25, 1.25, 1.35, 1.6, 1.9],
    "circular": [3, 3, 1.6, 1.6, 1.6, 1.8, 2.3, 2.8],
    "gated half": [3, 3, 1.4, 1.4, 1.4, 1.4, 1.7, 2.0, 2.4],
    "half": [4, 4, 2.2, 2.2, 2.2, 2.2, 2.7, 3.2, 3.8],
}
BACKWARD_BARS = {
    "gated circular": [None, None, 1.5, 1.5, 1.5, 1.7, 2.0, 2.4],
    "gated half": [None, None, 1.8, 1.8, 1.8, 1.8, 2.2, 2.7, 3.3],
}
DTYPES = {"float16": 1.0, "bfloat16": 1.2}


def commit_of(text: str, words: str) -> str:
    return re.search(words + r" (\w{7})\)", text)[1]


def rows_of(commit: str, dtype: str) -> dict:
    """(who, mode, n) -> row; one run a commit and dtype."""
    chosen = [row for row in ROWS if row["commit"] == commit and row["dtype"] == dtype]
    rows = {(row["impl"], row["mode"], row["n"]): row for row in chosen}
    assert len(rows) == len(chosen), "two runs of one commit"
    return rows


def cells(text: str) -> list[list[str]]:
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line] for line in lines]


def numbers(cell: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d[\d.]*(?:e-\d+)?", cell)]


def rounded(*values: float) -> list[float]:
    return [float(f"{value:.3g}") for value in values]


def check_ratio(cell: str, value: float, bar: float | None) -> None:
    shown = numbers(cell)
    assert shown[0] == pytest.approx(value, abs=0.0051)
    assert cell.startswith("**") == (bar is not None and shown[0] <= bar + 1e-9), f"{cell}, bar {bar}"
    assert shown[1:] == ([] if bar is None or shown[0] <= bar + 1e-9 else [pytest.approx(bar)])


def bar_of(bars: dict, mode: str, n: int, dtype: str) -> float | None:
    bar = bars[mode][N.index(n)] if mode in bars else None
    return None if bar is None else bar * DTYPES[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_performance_tables(dtype):
    begin = PERFORMANCE.index("\nbfloat16 (bars" if dtype == "bfloat16" else "\nfloat16:")
    end = PERFORMANCE.index("In words." if dtype == "bfloat16" else "\nbfloat16 (bars")
    rows = rows_of(commit_of(PERFORMANCE, r"cuda-[\d-]+\.jsonl` \(rows with commit"), dtype)
    table = [row for row in cells(PERFORMANCE[begin:end]) if row[1].isdigit() and row[0] in FORWARD_BARS]
    assert [(row[0], int(row[1])) for row in table] == [
        (m, n) for m, bars in FORWARD_BARS.items() for n in N[: len(bars)]
    ]
    for mode, n, length, forward, forward_x, backward, backward_x, error, gradients, memory in table:
        ours, torch = (rows[who, mode, int(n)] for who in ("ours", "torch"))
        assert int(length) == ours["L"]
        assert numbers(forward) == rounded(ours["floor_ms"], torch["fwd_ms"], ours["fwd_ms"])
        assert numbers(backward) == rounded(ours["bwd_floor_ms"], torch["bwd_ms"], ours["bwd_ms"])
        check_ratio(forward_x, ours["fwd_x"], bar_of(FORWARD_BARS, mode, int(n), dtype))
        check_ratio(backward_x, ours["bwd_x"], bar_of(BACKWARD_BARS, mode, int(n), dtype))
        assert numbers(error) == [pytest.approx(ours["err"], abs=6e-6), pytest.approx(ours["round_x"], abs=0.0051)]
        worst = max(ours[name] for name in ours if name.startswith("err_") and name != "err_dk")
        assert numbers(gradients) == [pytest.approx(worst, abs=6e-6), pytest.approx(ours["err_dk"], abs=6e-6)]
        assert numbers(memory) == [pytest.approx(ours[name], abs=1) for name in ("fwd_extra_MiB", "train_extra_MiB")]


def test_readme_table():
    rows = rows_of(commit_of(README, "against torch.fft in the same run .commit"), "float16")
    table = [row for row in cells(README[README.index("One NVIDIA H200") :]) if len(row) == 9 and row[0]]
    assert len(table) == 8
    for name, shape, forward, ours_forward, forward_x, backward, ours_backward, backward_x, error in table:
        length = int(shape.split(" x ")[1])
        mode = name.replace("causal", "half")
        ours, torch = (rows[who, mode, length if "circular" in mode else 2 * length] for who in ("ours", "torch"))
        assert numbers(forward) + numbers(ours_forward) == rounded(torch["fwd_ms"], ours["fwd_ms"])
        assert numbers(backward) + numbers(ours_backward) == rounded(torch["bwd_ms"], ours["bwd_ms"])
        assert numbers(forward_x) == [pytest.approx(ours["fwd_x"], abs=0.0051)]
        assert numbers(backward_x) == [pytest.approx(ours["bwd_x"], abs=0.0051)]
        worst = max(value for key, value in ours.items() if key == "err" or key.startswith("err_"))
        assert numbers(error) == [pytest.approx(worst, abs=6e-5)]
