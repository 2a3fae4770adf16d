"""How commands end on a mistake, and how they write."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import typer

from dybit.quant.config import ConfigError
from dybit.scripts.console import ends_on_mistakes, replacing, write
from dybit.sim.toolchain import ToolMissing


@pytest.mark.parametrize("error", [ConfigError("a: 1\nb: 2"), ToolMissing("a: 1\nb: 2")])
def test_a_mistake_ends_in_its_lines_and_status_2(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    @ends_on_mistakes
    def command() -> None:
        raise error

    with pytest.raises(typer.Exit) as caught:
        command()
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err == "error: a: 1\nerror: b: 2\n"


def test_a_file_that_cannot_be_written_ends_in_a_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()

    @ends_on_mistakes
    def command() -> None:
        (tmp_path / "file").mkdir()

    with pytest.raises(typer.Exit) as caught:
        command()
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'file'}: file exists\n"


def test_a_full_disk_does_too(capsys: pytest.CaptureFixture[str]) -> None:
    @ends_on_mistakes
    def command() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # as writing to a file does

    with pytest.raises(typer.Exit) as caught:
        command()
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err == "error: no space left on device\n"


@pytest.mark.parametrize("error", [KeyError("x"), BrokenPipeError(32, "Broken pipe")])
def test_a_fault_of_ours_keeps_its_traceback(error: Exception) -> None:
    @ends_on_mistakes
    def command() -> None:
        raise error

    with pytest.raises(type(error)):
        command()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write(path, "first")
    with pytest.raises(UnicodeEncodeError):
        write(path, "second \ud800")
    assert path.read_text() == "first"
    write(path, "second")
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_what_a_failure_left_is_removed(tmp_path: Path) -> None:
    def write_half(path: Path) -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "file.txt")
    assert not list(tmp_path.iterdir())
