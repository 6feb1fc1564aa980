"""Run folders and home folders that an earlier version wrote (commit 7cb4214) are read as before.

They lie in `tests/data/written_before/`: a run of six steps with two checkpoints, and a home with
settings, feedback, a conversation, an adapter and a queue of trainings.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.cli import main
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.notice import Notice
from tui_trainer.launch.engine_process import check_startable
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.conversations import ConversationStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.store.runs import checkpoints, run_folder, sent_notices
from tui_trainer.store.runs.present_rate import newest_rate
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.store.settings import load_settings
from tui_trainer.teaching.training_queue import TrainingQueue

WRITTEN = Path(__file__).parents[1] / "data" / "written_before"
RUN = "before-20261130-125600-e366"
ADAPTER = "island-20261130-1"
LOSSES = [9.174015, 8.292148, 8.397445, 8.31071, 7.203211, 7.463296]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The runs, where a test may write to them."""
    return Path(shutil.copytree(WRITTEN / "runs", tmp_path / "runs", symlinks=True))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder as this test's own."""
    home = Path(shutil.copytree(WRITTEN / "home", tmp_path / "home"))
    monkeypatch.setenv("TUI_TRAINER_HOME", str(home))
    return home


def document(capsys: Capture, *arguments: str) -> Any:
    assert main.main(list(arguments)) == 0
    return json.loads(capsys.readouterr().out)


def test_the_records_of_a_run(runs: Path) -> None:
    folder = run_folder.find_run("before", runs)
    info, state, data = folder.info(), folder.state(), folder.data()
    assert info is not None and state is not None and data is not None
    assert (info.id, info.host, info.job.training.max_steps, info.job.lora.rank) == (
        *(RUN, "trainer", 6, 1),
    )
    assert (state.state, state.step, state.best_step, folder.status()) == (
        *("completed", 6, 6, "completed"),
    )
    assert (data.train.rows, data.train.tokens) == (240, 4432)
    kinds = [event.kind for event in folder.events()]
    assert kinds == ["state", "setup", "data", "state"] + ["evaluation", "checkpoint"] * 2 + [
        "state"
    ]
    assert [command.command for command in folder.commands()] == ["checkpoint"]
    assert newest_rate(folder) == pytest.approx(1.9098300562505265e-4)


def test_runs_list_and_show(runs: Path, capsys: Capture) -> None:
    (listed,) = document(capsys, "runs", "list", "--json", "--runs-dir", str(runs))
    assert (listed["id"], listed["status"], listed["step"]) == (RUN, "completed", 6)
    assert listed["spark"] == pytest.approx(LOSSES)
    shown = document(capsys, "runs", "show", "before", "--json", "--runs-dir", str(runs))
    assert shown["rows"] == {"train": 6, "eval": 2}
    assert shown["best_val_loss"] == pytest.approx(8.420670204974236)
    assert shown["info"]["job"]["data"]["train"] == ["/data/lighthouse.jsonl"]
    assert [row["step"] for row in shown["checkpoints"]] == [3, 6]
    assert shown["oddities"] == []


def test_runs_export_and_advise(runs: Path, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "rows.jsonl"
    where = ("--runs-dir", str(runs))
    assert main.main(["runs", "export", "before", "-o", str(target), *where]) == 0
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["loss"] for row in rows if row.get("loss") is not None] == pytest.approx(LOSSES)
    capsys.readouterr()
    assert document(capsys, "runs", "advise", "before", "--json", *where) == []


def test_what_a_resume_checks(runs: Path) -> None:
    folder = RunFolder(runs / RUN)
    with pytest.raises(UserError, match="no steps left"):
        check_startable(folder)
    check_startable(folder, "step-00000003")
    found = checkpoints.list_checkpoints(folder)
    assert [step for step, _ in found] == [3, 6]
    assert [checkpoints.problem(path) for _, path in found] == [None, None]
    assert checkpoints.best_name(folder) == "step-00000006"


def test_a_notice_that_was_sent_is_not_sent_again(runs: Path) -> None:
    def notice(key: str) -> Notice:
        path = str(runs / RUN)
        return Notice(kind="finish", key=key, time=0.0, title="", text="", path=path)

    assert not sent_notices.claim(notice("finish-6-1796043396165"), "webhook")
    assert sent_notices.claim(notice("finish-6-1796043396165"), "command")
    assert sent_notices.claim(notice("finish-7-1"), "webhook")


def test_settings(home: Path) -> None:
    settings = load_settings()
    assert (settings.theme, str(settings.runs_dir)) == ("ember", "/data/runs")
    assert (settings.notify.on, settings.notify.min_seconds) == (["crash", "finish"], 12.5)
    assert (settings.teaching.auto_train_threshold, settings.teaching.epochs) == (4, 20)


def test_feedback(home: Path) -> None:
    store = FeedbackStore()
    critical, good, medium, dropped = store.examples()
    assert store.unreadable == 0
    assert (critical.right_answer, critical.flags, critical.note) == (
        *("Ines keeps it.", ["wrong"], "asked twice"),
    )
    assert (good.question, good.trained_in) == ("What colour is the door?", ADAPTER)
    assert medium.correction == "It was built in 1871."
    assert dropped.dropped
    assert [example.id for example in store.pending()] == [critical.id, medium.id]


def test_the_conversation(home: Path) -> None:
    store = ConversationStore()
    messages = store.recorded()
    assert [(turn.role, turn.content) for turn in messages] == [
        ("user", "Who keeps the lighthouse?"),
        ("assistant", "Nobody."),
        ("user", "Thank you"),
    ]
    assert (messages[1].adapter, messages[1].cancelled) == (ADAPTER, True)
    assert messages[1].example == FeedbackStore().get(1).id
    assert store.history() == ["/critical", "Who keeps the lighthouse?"]


def test_adapters(home: Path) -> None:
    store = AdapterStore()
    (entry,) = store.list()
    assert (entry.info.name, entry.info.run_id, entry.queries) == (ADAPTER, RUN, 1)
    assert (entry.info.lora.rank, entry.info.after.recalled, entry.info.after.kept_count) == (
        *(1, 0.5, 8),
    )
    assert store.problem(ADAPTER) is None
    assert store.live() == {ADAPTER: 0.75}


def test_the_training_queue(home: Path) -> None:
    live, refused = TrainingQueue(home / "teaching").entries()
    assert (live.record.id, live.record.state, live.record.adapter, live.starts) == (
        *("t1", "live", ADAPTER, 1),
    )
    assert live.record.after.kept == 1.0
    assert (refused.record.state, refused.record.message, refused.starts) == (
        *("refused", "kept 80%", 2),
    )
    assert len(refused.record.examples) == 2
