"""The command line, end to end on small data, and what it says to mistakes."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys

import pytest
import torch
from synthetic import write_data
from typer.testing import CliRunner

from flashfftconv.cli.app import app

SMALL = {
    "--d-model": 12,
    "--n-layers": 1,
    "--lr": 0.02,
    "--batch-size": 8,
    "--validation": 40,
    "--evaluations": 2,
    "--log-every": 5,
    "--threads": 1,
}
SMALL = [word for pair in SMALL.items() for word in pair]


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_demo_writes_its_report(folder, tmp_path):
    result = run("demo", "--data", folder, "--out", tmp_path, *SMALL, "--epochs", 10, "--least-accuracy", 0.5)
    assert result.exit_code == 0, result.output
    assert "control: test accuracy" in result.output
    page = (tmp_path / "report.html").read_text()
    report = json.loads((tmp_path / "report.json").read_text())
    pictures = {path.stem for path in tmp_path.glob("*.png")}
    assert pictures >= {"loss", "accuracy", "confusion", "filters", "filter_images", "timing"}
    assert pictures & {"examples_right", "examples_wrong"}
    for path in tmp_path.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    assert page.count("data:image/png;base64,") == len(pictures)
    assert not re.search(r'(src|href)="(?!data:)', page), "the page needs nothing beside it"
    accuracy = report["runs"]["model"]["accuracy"]
    assert f"{100 * accuracy:.2f}&nbsp;%" in page
    assert accuracy - report["runs"]["control"]["accuracy"] >= 0.1
    assert sum(map(sum, report["confusion"])) == 60
    assert report["timing"]["ours"]["median"] > 0
    assert report["timing"]["worst_error"] < 1e-5
    before, after = report["filters"][0]["before"], report["filters"][0]["after"]
    lam = report["config"]["lam"]
    assert after == pytest.approx([(abs(x) > lam) * (abs(x) - lam) * (1 if x > 0 else -1) for x in before], abs=1e-6)
    for name in ("model", "control"):
        assert (tmp_path / name / "log.csv").exists()

    # The same, finished run, held against a bar that nothing passes: says so, fails, and still reports.
    again = run("demo", "--data", folder, "--out", tmp_path, "--resume", "--threads", 1, "--least-gap", 1)
    assert again.exit_code == 1
    assert "the control without convolutions reaches" in again.output
    assert "Missed:" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["runs"]["model"]["accuracy"] == accuracy


def test_train_resumes_with_the_saved_settings(folder, tmp_path):
    first = run("train", "--data", folder, "--out", tmp_path, *SMALL, "--epochs", 0.5)
    assert first.exit_code == 0, first.output
    assert "test accuracy" in first.output
    refused = run("train", "--data", folder, "--out", tmp_path, *SMALL)
    assert refused.exit_code == 1
    assert "already holds a checkpoint; give --resume, --overwrite" in refused.output
    again = run("train", "--data", folder, "--out", tmp_path, "--resume", "--threads", 1)
    assert again.exit_code == 0, again.output
    assert "going on after step 10" in again.output
    other = run("train", "--data", folder, "--out", tmp_path, "--resume", "--d-model", 7)
    assert other.exit_code == 1
    assert "d_model is 12 there and 7 here" in other.output
    anew = run(
        "train", "--data", folder, "--out", tmp_path, *SMALL, "--epochs", 0.1, "--overwrite", "--smooth", "average"
    )
    assert anew.exit_code == 0, anew.output
    assert json.loads((tmp_path / "log.json").read_text())["config"]["smooth"] == "average"


def test_progress_tells_what_it_should(monkeypatch, folder, tmp_path):
    monkeypatch.setattr("flashfftconv.cli.progress.LINE_INTERVAL", 0.0)
    result = run("train", "--data", folder, "--out", tmp_path, *SMALL, "--epochs", 0.5)
    line = next(line for line in result.output.splitlines() if "step 5/10" in line)
    assert re.search(
        r"epoch 0\.25/0\.50  step 5/10  loss \d+\.\d+  accuracy \d+\.\d %  \d+ samples/s  \d+:\d\d left", line
    )


def test_info():
    result = run("info")
    assert result.exit_code == 0
    for word in ("version", "torch", torch.__version__, "backends", "threads"):
        assert word in result.output


def test_bench_prints_and_appends(tmp_path):
    rows = tmp_path / "rows" / "bench.jsonl"
    modes = "causal,gated half,bidirectional,partial"
    arguments = (
        "--modes",
        modes,
        "--lengths",
        "64,96",
        "--batch",
        2,
        "--channels",
        3,
        "--repetitions",
        3,
        "--out",
        rows,
    )
    for repeat in (1, 2):
        result = run("bench", *arguments)
        assert result.exit_code == 0, result.output
        written = [json.loads(line) for line in rows.read_text().splitlines()]
        assert len(written) == repeat * 2 * 2 * 4
    assert "gated half" in result.output
    for row in written:
        assert row["machine"] and row["torch"] == torch.__version__ and "commit" in row
        assert 0 < row["err"] < 1e-6
        assert 0 < row["err_du"] < 1e-6 and 0 < row["err_dk"] < 1e-6
        assert row["fwd_ms"] > 0 and row["bwd_ms"] > 0
    ours = [row for row in written if row["impl"] == "ours"]
    assert all(len(row["fwd_ms_ratio_quartiles"]) == 2 for row in ours)
    assert {row["Lk"] for row in ours if row["mode"] == "partial"} == {2, 3}
    assert all("err_dpre" in row for row in ours if row["mode"] == "gated half")
    assert all("err_dk_rev" in row for row in ours if row["mode"] == "bidirectional")


def test_bench_short_prints_and_appends(tmp_path):
    rows = tmp_path / "short.jsonl"
    sizes = ("--lengths", "40", "--channels", "6,7", "--taps", "3", "--batch", "2", "--repetitions", "2")
    for dtype, most in (("float32", 3e-7), ("bfloat16", 5e-3)):
        result = run("bench", "short", *sizes, "--dtype", dtype, "--out", rows)
        assert result.exit_code == 0, result.output
        for word in ("torch", "ours", "ratio", "bhl", "blh", "error", dtype):
            assert word in result.output
        written = [json.loads(line) for line in rows.read_text().splitlines()][-8:]
        assert [(row["impl"], row["layout"], row["D"]) for row in written[:4]] == [
            ("torch", "bhl", 6),
            ("ours", "bhl", 6),
            ("torch", "blh", 6),
            ("ours", "blh", 6),
        ]
        for row in written:
            assert row["operation"] == "short" and row["dtype"] == dtype and row["machine"] and row["K"] == 3
        for row in written[1::2]:
            assert max(row[key] for key in ("err", "err_dx", "err_dweight", "err_dbias")) < most
            assert len(row["fwd_ms_ratio_quartiles"]) == 2 and row["copy_ms"] > 0


def test_bench_short_errors_catch_a_wrong_answer():
    from flashfftconv.cli import bench_short

    for layout in ("bhl", "blh"):
        case = bench_short.ShortBench(2, 3, 50, 5, layout, torch.float32, "cpu")
        inputs = case.make_inputs()
        assert max(bench_short.errors(case, case.ours, inputs)[key] for key in ("err", "err_dx", "err_dweight")) < 3e-7
        wrong = bench_short.errors(case, lambda x, w, b, case=case: case.ours(x, w.flip(-1), b), inputs)
        assert wrong["err"] > 0.1 and wrong["err_dx"] > 0.1 and wrong["err_dweight"] > 0.1


def test_bench_errors_catch_a_wrong_answer():
    from flashfftconv.cli import bench_cases, bench_measure

    case = bench_cases.Case(mode="causal", n=64, dtype=torch.float32, batch=2, channels=3)
    inputs = bench_cases.make_inputs(case)
    assert bench_measure.errors(case, bench_cases.call_ours, inputs)["err"] < 1e-6

    def dropped_tap(case, inputs):
        k = inputs["k"] * (torch.arange(inputs["k"].shape[-1]) != 5)
        return bench_cases.call_ours(case, {**inputs, "k": k})

    found = bench_measure.errors(case, dropped_tap, inputs)
    assert found["err"] > 1e-3
    assert found["round_x"] > 1000
    assert found["err_dk"] > 1e-3


def allocated(call):
    """(Most bytes held at a time, bytes left in what `call` returns), by torch's own record of its allocator."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        kept = call()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    del kept
    return max(itertools.accumulate(sizes)), sum(sizes)


@pytest.mark.parametrize("mode", ["causal", "gated causal", "bidirectional", "circular", "partial"])
@pytest.mark.parametrize(("n", "batch", "channels"), [(64, 2, 3), (2048, 8, 5), (2048, 40, 1)])
def test_bench_shows_the_memory_that_is_allocated(mode, n, batch, channels):
    from flashfftconv.cli import bench_cases, bench_measure

    case = bench_cases.Case(mode=mode, n=n, dtype=torch.float32, batch=batch, channels=channels)
    inputs = bench_cases.make_inputs(case)
    shown = bench_measure.working_memory(case, inputs)
    leaves = {name: tensor.requires_grad_(True) for name, tensor in inputs.items()}
    y = bench_cases.call_ours(case, leaves)
    passes = {
        "fwd_extra_bytes": lambda: bench_cases.call_ours(case, leaves),
        "bwd_extra_bytes": lambda: torch.autograd.grad(y, list(leaves.values()), y, retain_graph=True),
    }
    for key, run_pass in passes.items():
        most, left = allocated(run_pass)
        assert 0 <= most - left - shown[key] <= 64, f"{key}: shown {shown[key]}, allocated {most - left}"


def test_bench_catches_a_filter_kept_behind_the_callers_back():
    from flashfftconv.cli import bench_cases, bench_measure

    case = bench_cases.Case(mode="bidirectional", n=64, dtype=torch.float32, batch=2, channels=3)
    kept = {}

    def forgetful(case, inputs):
        taps = {name: kept.setdefault(name, inputs[name].detach().clone()) for name in ("k", "k_rev")}
        return bench_cases.call_ours(case, {**inputs, **taps})

    assert bench_measure.stale_error(case, forgetful) > 1
    assert bench_measure.stale_error(case, bench_cases.call_ours) < 1e-6


MISTAKES = [
    (["train", "--data", "nowhere", "--out", "OUT"], "data folder nowhere does not exist"),
    (["demo", "--data", "nowhere", "--out", "OUT"], "data folder nowhere does not exist"),
    (["train", "--data", "DATA", "--out", "OUT", "--init", "zeros"], "init is 'zeros'; allowed: random, geometric"),
    (["train", "--data", "DATA", "--out", "OUT", "--norm", "group"], "norm is 'group'"),
    (["train", "--data", "DATA", "--out", "OUT", "--lam", "0.5"], "lam is 0.5, which zeroes every tap"),
    (["train", "--data", "DATA", "--out", "OUT", "--epochs", "-1"], "epochs is -1.0; it must be positive"),
    (["train", "--data", "DATA", "--out", "OUT", "--resume"], "there is no checkpoint"),
    (["bench", "--modes", "causal,fancy"], "--modes has 'fancy'; allowed: circular"),
    (["bench", "--dtype", "int8"], "--dtype is 'int8'"),
    (["bench", "--lengths", "12,x"], "--lengths is '12,x'"),
    (["bench", "--lengths", "1"], "--lengths has 1"),
    (["bench", "--device", "tpu"], "--device is 'tpu'; allowed: cpu, cuda"),
    (["bench", "short", "--device", "tpu"], "--device is 'tpu'; allowed: cpu, cuda"),
    (["bench", "short", "--dtype", "int8"], "--dtype is 'int8'"),
    (["bench", "short", "--layouts", "bhl,hbl"], "--layouts has 'hbl'; allowed: bhl, blh"),
    (["bench", "short", "--taps", "3,4"], "--taps has 4; allowed: odd numbers"),
    (["bench", "short", "--channels", "0"], "--channels has 0; allowed: integers of at least 1"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=lambda value: str(value)[:60])
def test_mistakes_end_in_one_line(folder, tmp_path, arguments, message):
    places = {"DATA": folder, "OUT": tmp_path / "out"}
    result = run(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments", [["train"], ["train", "--epochs", "many"], ["fly"], ["bench", "--repetitions", "0"]]
)
def test_misuse_of_options_is_refused(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_no_traceback_from_the_process_either(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [
        sys.executable,
        "-m",
        "flashfftconv.cli",
        "train",
        "--data",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: data folder")
    assert "Traceback" not in result.stderr


def test_import_needs_torch_alone():
    program = (
        "import sys, flashfftconv, flashfftconv.nn, flashfftconv.data;"
        "print([m for m in ('typer', 'rich', 'matplotlib', 'jinja2') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert result.stdout.strip() == "[]"
