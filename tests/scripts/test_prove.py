"""``make prove``: what passed is tabulated, what failed ends it, and the page is kept whole."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dybit.scripts.prove import BEGIN, END

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

PAGE = f"# Page\n\nbefore\n\n{BEGIN}\nwhatever was here\n{END}\n\nafter\n"


def run(folder: Path, suite: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command on a suite of its own that has the fixtures of the real one."""
    tests = folder / "suite"
    (tests / "formal").mkdir(parents=True)
    (tests / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tests / "formal" / "conftest.py").write_text((TESTS / "formal/conftest.py").read_text())
    (tests / "formal" / "test_suite.py").write_text(suite)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = prove\naddopts = -p no:cacheprovider\n")
    if not (folder / "page.md").exists():
        (folder / "page.md").write_text(PAGE)
    command = [sys.executable, "-m", "dybit.scripts.prove", "--tests", str(tests / "formal")]
    command += ["--jobs", "0", "--page", "page.md", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_what_passed_is_tabulated(tmp_path: Path) -> None:
    result = run(tmp_path, SUITE)
    assert result.returncode == 0, result.stdout
    report = json.loads((tmp_path / "build/prove/report.json").read_text())
    assert report["passed"] is True
    assert set(report) == {"machine", "pyosys", "seconds", "passed", "proofs"}
    claims = [(proof["block"], proof["claim"]) for proof in report["proofs"]]
    assert claims == [
        ("array", "another"),
        ("array", "one"),
        ("decoder", "equals its specification"),
    ]
    page = (tmp_path / "page.md").read_text()
    assert re.sub(f"{BEGIN}.*{END}", "", page, flags=re.S) == re.sub(
        f"{BEGIN}.*{END}", "", PAGE, flags=re.S
    )
    assert "whatever was here" not in page
    assert re.search(r"^3 properties, proved in \d+ s by Yosys [\d.]+ on .*\.$", page, re.M)
    rows = re.findall(r"^\| (.*) \|$", page, re.MULTILINE)
    assert rows[0] == "block | claim | method | bound | seconds"
    assert rows[1] == "--- | --- | --- | --- | ---"
    assert [row.rpartition(" | ")[0] for row in rows[2:]] == [
        "array | another | induction | none",
        "array | one | SAT | 8 rows",
        "decoder | equals its specification | SAT | none",
    ]


def test_page_is_rewritten_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE.replace("whatever", "| a | b |\n\n" * 3))
    assert run(tmp_path, SUITE).returncode == 0
    page = (tmp_path / "page.md").read_text()
    assert (page.count(BEGIN), page.count(END), page.count("| a | b |")) == (1, 1, 0)


def test_failed_proof_fails_and_is_not_tabulated(tmp_path: Path) -> None:
    result = run(tmp_path, SUITE.replace("another", "wrong") + "    assert False\n")
    assert result.returncode == 1
    assert "1 properties proved, but not all went well" in result.stdout
    report = json.loads((tmp_path / "build/prove/report.json").read_text())
    assert report["passed"] is False
    assert [proof["block"] for proof in report["proofs"]] == ["decoder"]
    assert (tmp_path / "page.md").read_text() == PAGE


@pytest.mark.parametrize("suite", ["def test(): pass\n", "import no_such_module\n"])
def test_nothing_proved_fails(suite: str, tmp_path: Path) -> None:
    assert run(tmp_path, suite).returncode == 1
    assert (tmp_path / "page.md").read_text() == PAGE


def test_page_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"{BEGIN}\n")
    result = run(tmp_path, SUITE)
    assert result.returncode == 2
    assert f"error: page.md must have the lines {BEGIN} and {END} once each" in result.stderr
