"""`train`: what is checked before a run is made, and the way into the full screen."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.cli import main, train
from tui_trainer.cli.common import output
from tui_trainer.contracts.runs.run import RunState
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder

Capture = pytest.CaptureFixture[str]

JOB = """
[data]
train = "data.jsonl"
"""


@pytest.fixture(autouse=True)
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    file = tmp_path / "job.toml"
    file.write_text(JOB)
    return file


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "training.max_stepz=4"], "did you mean training.max_steps?"),
        (["--set", "nonsense"], "is not KEY=VALUE"),
        (["--set", "training.batch_size=0"], "training.batch_size"),
        (["--set", "data.train=gone.jsonl"], "gone.jsonl does not exist"),
        (["--set", "model=./gone"], "model folder"),
        (["--name", "a/b"], "run name 'a/b' cannot be a folder's name"),
        (["--name", "../up"], "cannot be a folder's name"),
        (["--runs-dir", "job.toml"], "cannot create a run folder in job.toml"),
    ],
)
def test_a_mistake_is_one_sentence_and_makes_no_run(
    nothing_needed: None, capsys: Capture, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    assert main.main(["train", "job.toml", "--headless", *arguments]) == 2
    text = capsys.readouterr().err
    assert expected in text and text.count("\n") == 1
    assert run_folder.list_runs(tmp_path / "runs") == []


def test_missing_torch_is_reported_before_a_run_is_created(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    assert main.main(["train", "job.toml", "--headless"]) == 1
    assert capsys.readouterr().err == (
        "error: training needs torch, transformers, peft; "
        'install with: pip install "tui-trainer[train]"\n'
    )
    assert not (tmp_path / "runs").exists()


def test_the_word_example_is_the_packaged_job_unless_a_file_has_that_name(tmp_path: Path) -> None:
    assert train.load("example", ()).name == "lighthouse"
    (tmp_path / "example").write_text('name = "mine"\n' + JOB)
    assert train.load("example", ()).name == "mine"


class FakeApp(types.ModuleType):
    """Stands in for `tui_trainer.tui.full_screen`; keeps what it was called with."""

    def __init__(self) -> None:
        super().__init__("tui_trainer.tui.full_screen")
        self.calls: list[tuple[Path, dict[str, Any]]] = []
        self.status = 0

    def run_app(self, folder: Path, **options: Any) -> int:
        self.calls.append((folder, options))
        return self.status


class FakeSupervisor:
    """Starts nothing; writes the state a working engine would leave."""

    def __init__(self, on_end: object) -> None:
        self.left = False

    def start(
        self, folder: RunFolder, from_checkpoint: str | None, rate: float | None = None
    ) -> None:
        run_folder.write_state(folder, RunState(state="training", pid=1))

    def stop_watching(self) -> None:
        self.left = True


@pytest.fixture
def app(nothing_needed: None, monkeypatch: pytest.MonkeyPatch) -> FakeApp:
    fake = FakeApp()
    monkeypatch.setitem(sys.modules, "tui_trainer.tui.full_screen", fake)
    monkeypatch.setattr(output, "is_interactive", lambda: True)
    monkeypatch.setattr(train, "Supervisor", FakeSupervisor)
    return fake


def test_on_a_terminal_the_app_opens_focused_on_the_new_run(
    app: FakeApp, capsys: Capture, tmp_path: Path
) -> None:
    app.status = 3
    assert main.main(["train", "job.toml", "--name", "mine"]) == 3
    (made,) = run_folder.list_runs(tmp_path / "runs")
    ((folder, options),) = app.calls
    assert folder == Path("runs")
    assert options["focus"] == Path("runs") / made.path.name
    assert options["monitor_only"] is False
    assert options["settings"].runs_dir == "runs"
    assert "is still training; show it with: tui-trainer --runs-dir runs" in capsys.readouterr().err


def test_the_session_and_the_monitor_open_the_app(app: FakeApp, tmp_path: Path) -> None:
    assert main.main(["--runs-dir", "elsewhere"]) == 0
    assert main.main(["monitor", str(tmp_path)]) == 0
    assert [folder for folder, _ in app.calls] == [Path("elsewhere"), tmp_path]
    assert [options["monitor_only"] for _, options in app.calls] == [False, True]
    assert [options["focus"] for _, options in app.calls] == [None, None]
