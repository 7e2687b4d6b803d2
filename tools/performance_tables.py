"""Writes the GPU tables of docs/PERFORMANCE.md and README.md from the rows in bench/results/.

A table stands between `<!-- table NAME -->` and `<!-- end -->`. Bold means that a bar is met; where it is missed, the
bar stands beside the number. Bars: multiples of the floor at float16, by mode and n; bfloat16 may take 1.2 times as
much. After new rows: set RUN, run this, and read what it prints, the bars that are missed.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUN, COMMIT = "bench/results/cuda-2026-11-29.jsonl", "7030f5c"
DOCUMENTS = ("docs/PERFORMANCE.md", "README.md")

N = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
FORWARD_BARS = {
    "gated circular": (2, 2, 1.25, 1.25, 1.25, 1.35, 1.6, 1.9),
    "circular": (3, 3, 1.6, 1.6, 1.6, 1.8, 2.3, 2.8),
    "gated half": (3, 3, 1.4, 1.4, 1.4, 1.4, 1.7, 2.0, 2.4),
    "half": (4, 4, 2.2, 2.2, 2.2, 2.2, 2.7, 3.2, 3.8),
}
BACKWARD_BARS = {
    "gated circular": (None, None, 1.5, 1.5, 1.5, 1.7, 2.0, 2.4),
    "gated half": (None, None, 1.8, 1.8, 1.8, 1.8, 2.2, 2.7, 3.3),
}
DTYPES = {"float16": 1.0, "bfloat16": 1.2}
README_ROWS = (
    ("causal", 1024),
    ("causal", 4096),
    ("causal", 16384),
    ("gated causal", 4096),
    ("gated circular", 1024),
    ("gated circular", 4096),
    ("gated circular", 8192),
    ("gated circular", 32768),
)


def rows_of(dtype: str) -> dict:
    """(who, mode, n) -> row; one run a commit and dtype."""
    rows = [json.loads(line) for line in (ROOT / RUN).read_text().splitlines()]
    chosen = [row for row in rows if row["commit"] == COMMIT and row["dtype"] == dtype]
    found = {(row["impl"], row["mode"], row["n"]): row for row in chosen}
    if not chosen or len(found) != len(chosen):
        raise ValueError(f"{RUN} has {len(chosen)} rows of commit {COMMIT}, {dtype}; it must have one run")
    return found


def run_row(rows: dict, who: str, mode: str, length: int) -> dict:
    """By mode as users call it: causal rows of L samples were measured as `half` with n = 2 L."""
    circular = "circular" in mode
    return rows[who, mode if circular else mode.replace("causal", "half"), length if circular else 2 * length]


def bar_of(bars: dict, mode: str, n: int, dtype: str) -> float | None:
    bar = bars[mode][N.index(n)] if mode in bars else None
    return None if bar is None else bar * DTYPES[dtype]


def ratio(value: float, bar: float | None) -> str:
    if bar is None:
        return f"{value:.2f}"
    return f"**{value:.2f}**" if round(value, 2) <= bar + 1e-9 else f"{value:.2f} ({bar:.4g})"


def joined(*values: float) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def thousandths(value: float, digits: int = 2) -> str:
    return f"{1e3 * value:.{digits}f}e-3"


def worst_gradient(row: dict) -> float:
    return max(value for key, value in row.items() if key.startswith("err_") and key != "err_dk")


def table(head: list[str], lines: list[list[str]]) -> str:
    rule = ["--"] * len(head)
    return (
        "".join("| " + " | ".join(line) + " |\n" for line in (head, rule, *lines))
        .replace("| -- ", "|--")
        .replace("|-- |", "|--|")
    )


def engine_table(dtype: str) -> str:
    rows, lines = rows_of(dtype), []
    for mode, bars in FORWARD_BARS.items():
        for n in N[: len(bars)]:
            ours, torch = rows["ours", mode, n], rows["torch", mode, n]
            lines.append(
                [
                    mode,
                    str(n),
                    str(ours["L"]),
                    joined(ours["floor_ms"], torch["fwd_ms"], ours["fwd_ms"]),
                    ratio(ours["fwd_x"], bar_of(FORWARD_BARS, mode, n, dtype)),
                    joined(ours["bwd_floor_ms"], torch["bwd_ms"], ours["bwd_ms"]),
                    ratio(ours["bwd_x"], bar_of(BACKWARD_BARS, mode, n, dtype)),
                    f"{thousandths(ours['err'])}, {ours['round_x']:.2f}",
                    f"{thousandths(worst_gradient(ours))}, {thousandths(ours['err_dk'])}",
                    f"{ours['fwd_extra_MiB']:.0f}, {ours['train_extra_MiB']:.0f}",
                ]
            )
    head = ["", "n", "L", "forward ms: floor, torch, ours", "x floor (bar)", "backward ms: floor, torch, ours"]
    head += ["x floor (bar)", "error y, rounding_x", "worst gradient (rows), dk", "extra MiB forward, training"]
    return table(head, lines)


def bars_table() -> str:
    lines = [
        [f"{mode}, {direction}", *("-" if bar is None else f"{bar:g}" for bar in bars), *[""] * (len(N) - len(bars))]
        for direction, all_bars in (("forward", FORWARD_BARS), ("backward", BACKWARD_BARS))
        for mode, bars in all_bars.items()
    ]
    return table(["n", *map(str, N)], lines)


def key_of(column: str, others: dict) -> str:
    return ("bwd" if column.endswith("backward") else "fwd") + ("_x" if "best x floor" in others else "_ms")


def is_best(ours: dict, column: str, others: dict) -> bool:
    return ours[key_of(column, others)] < min(others.values())


def published_table(family: str) -> str:
    """Ours, at float16, beside the figures of others, in bold where it is the smallest."""
    published = json.loads((ROOT / "bench/published.json").read_text())[family]
    rows, lines = rows_of("float16"), []
    for length, columns in published.items():
        line = [length]
        for column, others in columns.items():
            mode = f"gated {family}" if column.startswith("gated") else family
            ours = run_row(rows, "ours", mode, int(length))
            mine = f"{ours[key_of(column, others)]:.3g}"
            mine = f"**{mine}**" if is_best(ours, column, others) else mine
            line.append(", ".join([*(f"{value:g}" for value in others.values()), mine]))
        lines.append(line)
    head = [f"{family}, L"]
    head += [f"{column}: {', '.join(others)}, ours" for column, others in next(iter(published.values())).items()]
    return table(head, lines)


def readme_table() -> str:
    rows, lines = rows_of("float16"), []
    for mode, length in README_ROWS:
        ours, torch = (run_row(rows, who, mode, length) for who in ("ours", "torch"))
        worst = max(value for key, value in ours.items() if key == "err" or key.startswith("err_"))
        lines.append(
            [
                mode,
                f"{ours['B']} x {length}",
                *(f"{row['fwd_ms'] * ours['B'] / 64:.3g}" for row in (torch, ours)),
                f"**{ours['fwd_x']:.2f}**",
                *(f"{row['bwd_ms'] * ours['B'] / 64:.3g}" for row in (torch, ours)),
                f"**{ours['bwd_x']:.2f}**",
                thousandths(worst, 1),
            ]
        )
    return table(
        ["", "B x L", "forward ms, torch", "ours", "x floor", "backward ms, torch", "ours", "x floor", "worst error"],
        lines,
    )


TABLES = {
    "float16": lambda: engine_table("float16"),
    "bfloat16": lambda: engine_table("bfloat16"),
    "bars": bars_table,
    "published circular": lambda: published_table("circular"),
    "published causal": lambda: published_table("causal"),
    "readme": readme_table,
}


def updated(text: str) -> str:
    """The text with every table as the rows have it."""
    return re.sub(
        r"(<!-- table ([\w ]+) -->\n).*?(<!-- end -->)",
        lambda match: match[1] + "\n" + TABLES[match[2]]() + "\n" + match[3],
        text,
        flags=re.DOTALL,
    )


def missed() -> list[str]:
    """The bars that are missed, as text."""
    lines = []
    for dtype in DTYPES:
        for (who, mode, n), row in rows_of(dtype).items():
            for name, key, bars in (("forward", "fwd_x", FORWARD_BARS), ("backward", "bwd_x", BACKWARD_BARS)):
                bar = bar_of(bars, mode, n, dtype)
                if who == "ours" and bar is not None and round(row[key], 2) > bar + 1e-9:
                    lines.append(f"{dtype} {mode} {n} {name}: {row[key]:.2f}, bar {bar:.4g}")
    return lines


def behind() -> list[str]:
    """Where somebody else is faster: a published figure, or torch.fft in the same run."""
    lines = []
    published = json.loads((ROOT / "bench/published.json").read_text())
    for dtype in DTYPES:
        rows = rows_of(dtype)
        for (who, mode, n), row in rows.items():
            for key in ("fwd_ms", "bwd_ms"):
                if who == "ours" and row[key] >= rows["torch", mode, n][key]:
                    lines.append(f"{dtype} {mode} {n} {key}: torch.fft")
        for family in ("circular", "causal"):
            for length, columns in published[family].items():
                for column, others in columns.items():
                    mode = f"gated {family}" if column.startswith("gated") else family
                    if not is_best(run_row(rows, "ours", mode, int(length)), column, others):
                        lines.append(f"{dtype} {family} {length} {column}: {', '.join(others)}")
    return lines


if __name__ == "__main__":
    for name in DOCUMENTS:
        path = ROOT / name
        path.write_text(updated(path.read_text()))
    print("\n".join(["bars missed:", *missed(), "others faster:", *behind()]))
