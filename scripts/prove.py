"""``make prove``: runs every proof and tabulates what was proved, how, how far and how long."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Annotated, Any
from xml.etree import ElementTree

import typer

from dybit.scripts.console import UserError, console, machine, run, write

__all__ = ["BEGIN", "END", "proofs_of", "prove", "table"]

BEGIN, END = "<!-- proofs -->", "<!-- end of proofs -->"
"""What stands around the table, a line each."""

COLUMNS = ("block", "claim", "method", "bound")


def proofs_of(report: Path) -> list[dict[str, Any]]:
    """Return what the passed tests of a report of pytest proved, sorted by block and claim.

    Parameters
    ----------
    report
        JUnit XML, in which property ``proved`` holds block, claim, method and bound.

    Returns
    -------
    list of dict
        These four, and `seconds`, the time of the test's call.
    """
    found = []
    for case in ElementTree.parse(report).iter("testcase"):
        if any(case.find(outcome) is not None for outcome in ("failure", "error", "skipped")):
            continue
        rows = [p.get("value", "") for p in case.iter("property") if p.get("name") == "proved"]
        for row in rows:
            seconds = float(case.get("time", 0)) / len(rows)
            proof: dict[str, Any] = dict(zip(COLUMNS, json.loads(row), strict=True))
            found.append(proof | {"seconds": round(seconds, 1)})
    return sorted(found, key=lambda proof: [proof[column] for column in COLUMNS])


def table(proofs: list[dict[str, Any]]) -> str:
    """Return the proofs as a table in Markdown."""
    head = (*COLUMNS, "seconds")
    lines = [head, ("---",) * len(head)]
    lines += [tuple(str(proof[column]) for column in head) for proof in proofs]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _between_marks(page: Path, text: str) -> str:
    """Return the page with `text` between its marks."""
    parts = re.split(f"^(?:{BEGIN}|{END})$", page.read_text(), flags=re.MULTILINE)
    if len(parts) != 3:
        raise UserError(f"{page} must have the lines {BEGIN} and {END} once each")
    return f"{parts[0]}{BEGIN}\n\n{text}\n{END}{parts[2]}"


def prove(
    jobs: Annotated[str, typer.Option(help="Processes.")] = "auto",
    tests: Annotated[Path, typer.Option(help="Folder of proofs.")] = Path("tests/formal"),
    output: Annotated[Path, typer.Option("--output", "-o", help="File; what was proved.")] = Path(
        "build/prove/report.json"
    ),
    page: Annotated[Path, typer.Option(help="Page whose table is rewritten.")] = Path(
        "docs/verification.md"
    ),
) -> None:
    """Run all proofs; a failed one ends the command with status 1 and leaves the page as it was."""
    _between_marks(page, "")  # what cannot be rewritten is said before hours of proofs
    command = [sys.executable, "-m", "pytest", "-q", "--prove", str(tests)]
    command += ["-n", jobs, "--dist", "worksteal", "-o", "junit_duration_report=call"]
    with tempfile.TemporaryDirectory(prefix="dybit-prove-") as scratch:
        report = Path(scratch) / "report.xml"
        start = monotonic()
        status = subprocess.run([*command, f"--junitxml={report}"]).returncode
        seconds = monotonic() - start
        proofs = proofs_of(report) if report.exists() else []
    found = {
        "machine": machine(),
        "pyosys": version("pyosys"),
        "seconds": round(seconds, 1),
        "passed": status == 0,
        "proofs": proofs,
    }
    write(output, json.dumps(found, indent=2) + "\n")
    if status != 0 or not proofs:
        console.print(f"not everything was proved; what was is in {output}")
        raise typer.Exit(1)
    summary = (
        f"{len(proofs)} properties, proved in {seconds:.0f} s by Yosys {found['pyosys']} on "
        f"{found['machine']}.\n\n"
    )
    write(page, _between_marks(page, summary + table(proofs)))
    console.print(f"{len(proofs)} properties proved in {seconds:.0f} s: {output}, {page}")


if __name__ == "__main__":
    run(prove)
