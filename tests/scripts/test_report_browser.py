"""The report in headless Chromium: logs nothing, has its charts, fits a phone and a desktop."""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dybit.scripts.cli import app

ROOT = Path(__file__).parents[2]

WIDTHS = (390, 1440)

HARNESS = """<!DOCTYPE html><meta charset="utf-8"><body style="margin: 0"><pre id="result"></pre>
{frames}
<script>
window.onload = () => {{
  const results = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument, root = page.documentElement;
    const charts = [...page.querySelectorAll("svg")].map(svg => {{
      const box = svg.getBoundingClientRect();
      const scale = box.width / svg.viewBox.baseVal.width;
      const sizes = [...svg.querySelectorAll("text")].map(
        text => scale * parseFloat(frame.contentWindow.getComputedStyle(text).fontSize));
      const outside = [...svg.querySelectorAll("text")].filter(text => {{
        const own = text.getBoundingClientRect();
        return own.left < box.left - 1 || own.right > box.right + 1
          || own.top < box.top - 1 || own.bottom > box.bottom + 1;
      }}).map(text => svg.getAttribute("aria-label") + ": " + text.textContent);
      const marks = [...svg.querySelectorAll(".mark, .weights, .compute")].filter(
        mark => mark.getBoundingClientRect().height > 0).length;
      return {{width: box.width, height: box.height, smallest: Math.min(...sizes), outside, marks}};
    }});
    const scrolling = [...page.querySelectorAll(".scroll, pre")].filter(
      box => box.getBoundingClientRect().right > root.clientWidth + 1).length;
    return {{width: root.clientWidth, content: root.scrollWidth, charts, scrolling}};
  }});
  document.getElementById("result").textContent = JSON.stringify(results);
}};
</script>
"""


def chromium(program: str, page: Path, *options: str) -> tuple[str, str]:
    """Load a page and return what its document became, and what it logged."""
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run(
        [*command, profile, *options, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.fixture
def browser(debian_tool: Callable[[str], str]) -> str:
    return debian_tool("chromium")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    config = ROOT / "configs/imagenet-w8a8.toml"
    command = f"report --config {config} --workload resnet18 --points 4 --cache {tmp_path}/cache"
    result = CliRunner().invoke(app, [*command.split(), "-o", str(path)])
    assert result.exit_code == 0, result.output
    return path


def test_the_report_loads_and_fits(browser: str, report: Path, tmp_path: Path) -> None:
    _, log = chromium(browser, report)
    assert log == ""
    text = html.escape(report.read_text(), quote=True)
    frames = "\n".join(
        f'<iframe style="border: 0; width: {width}px; height: 900px" srcdoc="{text}"></iframe>'
        for width in WIDTHS
    )
    harness = tmp_path / "harness.html"
    harness.write_text(HARNESS.format(frames=frames))
    dom, log = chromium(browser, harness)
    assert log == ""
    (found,) = re.findall(r'<pre id="result">(.*?)</pre>', dom, re.DOTALL)
    for width, result in zip(WIDTHS, json.loads(html.unescape(found)), strict=True):
        assert result["content"] == result["width"]
        assert width - 20 <= result["width"] <= width
        assert result["scrolling"] == 0
        assert len(result["charts"]) == 7
        for chart in result["charts"]:
            assert chart["width"] >= min(350, width - 50)
            assert chart["height"] > 100
            assert chart["smallest"] >= 9
            assert chart["marks"] >= 4
            assert chart["outside"] == []


def test_what_a_page_logs_is_seen(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html><script>console.error('wrong')</script>")
    assert "wrong" in chromium(browser, page)[1]
