"""The table of cases is read as it says it is."""

import pytest
import torch

from flashfftconv import cases


@pytest.fixture
def table(monkeypatch, tmp_path):
    """Puts a text in the place of the table."""

    def put(text):
        (tmp_path / "cases.txt").write_text(text)
        monkeypatch.setattr(cases, "__file__", str(tmp_path / "cases.py"))
        for cached in (cases.lines, cases.cases, cases.benchmarks):
            cached.cache_clear()

    yield put
    monkeypatch.undo()
    for cached in (cases.lines, cases.cases, cases.benchmarks):
        cached.cache_clear()


def test_lists_sums_and_choices(table):
    table(
        "list some 3,10  # a comment\n"
        "a+b circular 1,2 4 @some 2L-1 - 1 L,L/2+2,K+1 - f16 - dense\n"
        "b bidirectional 1 1 9 1 L/10 0 - any f32,f64 f16 spaced\n"
        "b causal 1 1 5 5 - 1 - each f64 - dense\n"
    )
    circular = cases.cases("a")
    assert len(circular) == 2 * 5  # L/2 + 2 is below 10
    assert [(c.length, c.taps, c.fft_size) for c in circular[:5]] == [
        (3, 3, 3),
        (3, 3, 3),
        (3, 5, 6),
        (10, 10, 10),
        (10, 19, 20),
    ]
    assert {(c.batch, c.channels, c.gates, c.skip, c.dtype, c.filter_dtype) for c in circular} == {
        (batch, 4, "", False, torch.float16, torch.float32) for batch in (1, 2)
    }
    both, turns, each = cases.cases("b")[:10], cases.cases("b")[10:12], cases.cases("b")[12:]
    assert both == circular
    assert [(c.taps_reverse, c.k_rev_lag, c.gates, c.filter_dtype, c.strides) for c in turns] == [
        (1, 0, "", torch.float16, "spaced"),
        (1, 0, "pre", torch.float16, "spaced"),
    ]
    assert len({(c.gates, c.skip) for c in each}) == len(each) == 8
    assert all(c.filter_dtype == torch.float64 for c in each)


def test_benchmarks_take_any_size(table):
    table("bench:two_words causal - - N/2 L/16 - 1 64,128 pre+post f32 - dense\n")
    assert list(cases.benchmarks()) == ["two words"]
    assert cases.benchmarks()["two words"].at(1000) == {"N": 1000, "L": 500, "Lk": 31, "Lr": 0}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a causal 1 1", "line 1: 4 columns, not 13"),
        ("a causal 1 1 5 5 - 1 - - f32 - woven", "'woven'"),
        ("a causal 1 1 5 5 - 1 - - f31 - dense", "'f31'"),
        ("a causal 1 1 5 x - 1 - - f32 - dense", "'x' is not a size"),
        ("a causal 1 1 5 5 - 1 - gate f32 - dense", "'gate'"),
    ],
)
def test_mistakes_in_the_table(table, line, message):
    table(line)
    with pytest.raises(ValueError, match=message):
        cases.cases("a")


@pytest.mark.parametrize("run", ["cpp", "sample", "long", "python"])
def test_every_line_of_the_table_itself_is_sound(run):
    found = cases.cases(run)
    assert found
    assert all(case.fft_size is None or case.taps <= case.fft_size for case in found)
    assert {case.mode for case in found} == {"circular", "causal", "bidirectional"}
