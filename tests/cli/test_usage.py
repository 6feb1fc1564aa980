"""Wrong usage and bad input: one sentence on standard error, status 2, no traceback."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click
import pytest

from tui_trainer.cli import main
from tui_trainer.cli.common import options, output
from tui_trainer.contracts.errors import UserError

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def sentence(capsys: Capture, *arguments: str) -> tuple[int, str]:
    """The exit status and the one line printed to standard error."""
    status = main.main(arguments)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    return status, printed.err.rstrip("\n")


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("monitor",),
        ("train",),
        ("resume",),
        ("control",),
        ("runs",),
        ("runs", "list"),
        ("runs", "show"),
        ("doctor",),
    ],
)
def test_every_help_has_an_example(capsys: Capture, command: tuple[str, ...]) -> None:
    assert main.main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example" in text
    assert " ".join(("tui-trainer", *command)) in text.split("Example", 1)[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "did you mean 'train'?"),
        (["runs", "lst"], "did you mean 'list'?"),
        (["train"], "Missing argument 'JOB.toml'"),
        (["train", "job.toml", "--hedless"], "--hedless"),
        (["train", "absent.toml"], "absent.toml does not exist"),
        (["train", "."], "is a folder; a TOML file is needed"),
        (["resume", "nobody"], "no run 'nobody'"),
        (["control", "nobody", "pause"], "no run 'nobody'"),
        (["control", "nobody", "puase"], "'puase' is not one of"),
        (["control", "nobody", "set-lr"], "such as 1e-4; none was given"),
        (["control", "nobody", "set-lr", "-1"], "above 0"),
        (["control", "nobody", "set-lr", "0"], "above 0"),
        (["control", "nobody", "set-lr", "nan"], "above 0"),
        (["control", "nobody", "set-lr", "inf"], "above 0"),
        (["control", "nobody", "set-lr", "fast"], "got 'fast'"),
        (["control", "nobody", "pause", "3"], "pause takes no value"),
        (["control", "nobody", "pause", "--timeout", "-3"], "-3"),
        (["control", "nobody", "pause", "--tmeout=3"], "--tmeout"),
        (["runs", "show", "nobody"], "no run 'nobody'"),
        (["runs", "show", "."], ". is not a run folder: it has no run.json"),
        (["runs", "list", "--runs-dir", "absent"], "absent does not exist"),
        (["monitor", "absent"], "absent does not exist"),
        (["monitor", "."], "needs a terminal"),
        ([], "needs a terminal"),
    ],
)
def test_each_mistake_gets_its_sentence(
    capsys: Capture, arguments: list[str], expected: str
) -> None:
    status, text = sentence(capsys, *arguments)
    assert status == 2
    assert expected in text
    assert text.startswith("error: ")


def test_a_file_is_not_a_folder_of_runs(capsys: Capture, in_empty_folder: Path) -> None:
    (in_empty_folder / "file").touch()
    status, text = sentence(capsys, "monitor", "file")
    assert (status, text) == (2, "error: file is not a folder; give a folder of runs")


def test_an_unreadable_folder_is_an_error(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, in_empty_folder: Path
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    status, text = sentence(capsys, "monitor", ".")
    assert (status, text) == (2, "error: . cannot be read: Permission denied")


def test_a_broken_configuration_is_named(capsys: Capture, own_config: Path) -> None:
    own_config.write_text("theme = 3\n")
    status, text = sentence(capsys, "runs", "list")
    assert status == 2
    assert str(own_config) in text and "theme" in text


@pytest.fixture
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUI_TRAINER_HOME", str(tmp_path))
    return tmp_path / "config.toml"


def test_the_runs_dir_is_given_before_or_after_the_command_or_configured(
    capsys: Capture, own_config: Path, in_empty_folder: Path
) -> None:
    own_config.write_text('runs_dir = "elsewhere"\n')
    assert main.main(["runs", "list"]) == 0
    assert "no runs in elsewhere yet" in capsys.readouterr().err
    (in_empty_folder / "mine").mkdir()
    for arguments in (
        ["--runs-dir", "mine", "runs", "list"],
        ["runs", "--runs-dir", "mine", "list"],
        ["runs", "list", "--runs-dir", "mine"],
        ["--runs-dir", "absent", "runs", "list", "--runs-dir", "mine"],
    ):
        assert main.main(arguments) == 0
        assert "no runs in mine yet" in capsys.readouterr().err


def test_version(capsys: Capture) -> None:
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tui-trainer ")


def break_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(options, "runs_dir", fail)


def test_an_unexpected_error_is_one_sentence(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_with(monkeypatch, RuntimeError("boom\x1b[2J"))
    status, text = sentence(capsys, "runs", "list")
    assert status == 1
    assert text == (
        "error: unexpected RuntimeError: boom\\x1b[2J; run again with --debug for the traceback"
    )


def test_a_system_error_is_reported_in_its_words(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_with(monkeypatch, PermissionError(13, "Permission denied", "/some/file"))
    assert sentence(capsys, "runs", "list") == (1, "error: /some/file: Permission denied")
    break_with(monkeypatch, OSError(28, "No space left on device"))
    assert sentence(capsys, "runs", "list") == (1, "error: No space left on device")


def test_a_closed_reader_is_no_error(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    break_with(monkeypatch, BrokenPipeError(32, "Broken pipe"))
    assert main.main(["runs", "list"]) == 1
    assert capsys.readouterr().err == ""


def test_a_closed_output_is_no_error(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, in_empty_folder: Path
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main.main(["runs", "list", "--json"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", [["--debug", "runs", "list"], ["runs", "list", "--debug"]])
def test_debug_shows_the_traceback(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    break_with(monkeypatch, RuntimeError("boom"))
    assert main.main(arguments) == 1
    text = capsys.readouterr().err
    assert "Traceback" in text and text.endswith("error: unexpected RuntimeError: boom\n")


def test_a_users_mistake_keeps_its_status(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    break_with(monkeypatch, UserError("it is late", 7))
    assert sentence(capsys, "runs", "list") == (7, "error: it is late")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_ends_with_130(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    break_with(monkeypatch, error)
    status = main.main(["runs", "list"])
    assert status == 130
    assert "Traceback" not in capsys.readouterr().err


def test_text_that_a_terminal_cannot_show_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()

    def print_a_dash(_: object) -> Path:
        output.data("–")
        return Path("absent")

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    monkeypatch.setattr(options, "runs_dir", print_a_dash)
    assert main.main(["runs", "list"]) == 0
    assert raw.getvalue() == b"\\u2013\n"
