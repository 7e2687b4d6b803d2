"""The tables in the documentation are whole, and those of the GPU say what the recorded rows say."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import performance_tables as tables  # noqa: E402

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("name", tables.DOCUMENTS)
def test_tables_are_those_of_the_rows(name):
    text = (ROOT / name).read_text()
    assert tables.updated(text) == text, "run tools/performance_tables.py"
    assert f"commit {tables.COMMIT})" in text


def test_every_table_is_shown_and_notices_other_numbers():
    text = "".join((ROOT / name).read_text() for name in tables.DOCUMENTS)
    for name in tables.TABLES:
        assert text.count(f"<!-- table {name} -->") == 1
        begin, table, end = f"<!-- table {name} -->\n\n", tables.TABLES[name](), "\n<!-- end -->"
        assert begin + table + end in text
        assert tables.updated(begin + table.replace("1", "7") + end) == begin + table + end


def test_bars_that_are_missed_are_not_bold():
    assert tables.ratio(2.204, 2.2) == "**2.20**" and tables.ratio(2.206, 2.2) == "2.21 (2.2)"
    assert tables.ratio(5.0, None) == "5.00"


def test_nobody_is_faster():
    """As docs/PERFORMANCE.md says in words."""
    assert "Ours is better in all of them, at bfloat16 too" in (ROOT / "docs/PERFORMANCE.md").read_text()
    assert tables.behind() == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_rows_have_as_many_cells_as_their_header(path):
    before, width = "", 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("|"):
            count = line.replace("\\|", "").count("|")
            if not before.startswith("|"):
                width = count
            assert count == width, f"{path.name}:{number}: {count} bars, the header has {width}"
        before = line
