"""``make prove``: what passed is tabulated, what failed ends it, and the page is kept whole."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

from dybit.scripts.console import UserError
from dybit.scripts.prove import BEGIN, END, prove

TESTS = Path(__file__).parents[1]

SUITE = """
import pytest

def test_short(proved):
    proved("decoder", "equals its specification", "SAT", "none")

@pytest.mark.prove
def test_long(proved):
    proved("array", "one", "SAT", "8 rows")
    proved("array", "another", "induction", "none")
"""

PAGE = f"# Page\n\nbefore\n\n{BEGIN}\n\n| a | b |\n\n{END}\n\nafter\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the fixtures of the real suite of proofs, and a page."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite/formal").mkdir(parents=True)
    for conftest in ("conftest.py", "formal/conftest.py"):
        (tmp_path / "suite" / conftest).write_text((TESTS / conftest).read_text())
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers = prove\naddopts = -p no:cacheprovider\n"
    )
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path


def run(suite: str) -> int:
    """Run the command on a suite of its own and return its status."""
    Path("suite/formal/test_suite.py").write_text(suite)
    try:
        prove("0", Path("suite/formal"), Path("report.json"), Path("page.md"))
    except typer.Exit as end:
        return end.exit_code
    return 0


def test_what_passed_is_tabulated(folder: Path) -> None:
    assert run(SUITE) == 0
    report = json.loads((folder / "report.json").read_text())
    assert report["passed"] is True
    assert set(report) == {"machine", "pyosys", "seconds", "passed", "proofs"}
    claims = [(proof["block"], proof["claim"]) for proof in report["proofs"]]
    assert claims == [
        ("array", "another"),
        ("array", "one"),
        ("decoder", "equals its specification"),
    ]
    page = (folder / "page.md").read_text()
    around = re.compile(f"{BEGIN}.*{END}", re.DOTALL)
    assert around.sub("", page) == around.sub("", PAGE)
    # What was between the marks is gone.
    assert "| a | b |" not in page
    assert (page.count(BEGIN), page.count(END)) == (1, 1)
    assert re.search(r"^3 properties, proved in \d+ s by Yosys [\d.]+ on .*\.$", page, re.M)
    rows = re.findall(r"^\| (.*) \|$", page, re.MULTILINE)
    assert rows[0] == "block | claim | method | bound | seconds"
    assert rows[1] == "--- | --- | --- | --- | ---"
    assert [row.rpartition(" | ")[0] for row in rows[2:]] == [
        "array | another | induction | none",
        "array | one | SAT | 8 rows",
        "decoder | equals its specification | SAT | none",
    ]


def test_failed_proof_fails_and_is_not_tabulated(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(SUITE.replace("another", "wrong") + "    assert False\n") == 1
    assert "not everything was proved; what was is in report.json" in capsys.readouterr().out
    report = json.loads((folder / "report.json").read_text())
    assert report["passed"] is False
    assert [proof["block"] for proof in report["proofs"]] == ["decoder"]
    assert (folder / "page.md").read_text() == PAGE


@pytest.mark.parametrize("suite", ["def test(): pass\n", "import no_such_module\n"])
def test_nothing_proved_fails(suite: str, folder: Path) -> None:
    assert run(suite) == 1
    assert (folder / "page.md").read_text() == PAGE


def test_page_without_marks_is_refused(folder: Path) -> None:
    (folder / "page.md").write_text(f"{BEGIN}\n")
    with pytest.raises(UserError, match=f"^page.md must have the lines {BEGIN} and {END} once"):
        run(SUITE)
