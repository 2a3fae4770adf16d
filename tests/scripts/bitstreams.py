"""What tests of bitstreams share: the command, and a config written down."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from dybit.scripts.cli import app

__all__ = ["call", "config"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bitstream", *map(str, arguments)])


def config(text: str, directory: Path) -> Path:
    path = directory / "mine.toml"
    path.write_text(text)
    return path
