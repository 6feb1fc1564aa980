"""How the chat process begins and ends, also by force."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tui_trainer.chat.client import ChatClient, ModelAnswer
from tui_trainer.chat.process import ChatProcess
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.store import paths
from tui_trainer.store.runs import process_identity

QUESTION = [Turn("user", "the cat sat on the mat")]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def gone(pid: int) -> bool:
    return not process_identity.process_alive(pid, None)


def kill(chat: ChatClient) -> None:
    assert chat.pid is not None
    os.kill(chat.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_process_is_restarted_with_the_active_adapters(
    llama3_base: Path, make_adapter: Callable[..., Path]
) -> None:
    messages: list[str] = []
    folders = {"one": make_adapter(llama3_base, seed=1), "two": make_adapter(llama3_base, seed=2)}
    with ChatClient(str(llama3_base), threads=1, on_status=messages.append) as chat:
        assert chat.pid is None
        chat.use({"one": 0.5, "two": 1.5}, folders)
        before = chat.answer(QUESTION, max_new_tokens=12)
        assert messages == ["loading PyTorch", "checking the base", f"loading {llama3_base}"]
        first = chat.pid
        begun = threading.Event()
        with ThreadPoolExecutor() as pool:
            under_way = pool.submit(
                chat.answer, QUESTION, max_new_tokens=1900, on_token=lambda _: begun.set()
            )
            assert begun.wait(30)
            kill(chat)
            with pytest.raises(UserError, match="the chat process was killed by SIGKILL"):
                under_way.result(30)
        assert chat.pid is None

        after = chat.answer(QUESTION, max_new_tokens=12)

        assert chat.pid not in (None, first)
        assert (after.text, after.adapter) == (before.text, "one=0.5 two=1.5")
        assert "by SIGKILL" in messages[3]
        assert messages[3].endswith("starting it again")
        shutil.rmtree(folders["two"])
        kill(chat)
        wait_until(lambda: chat.pid is None)
        with pytest.raises(
            UserError, match="one, two cannot be activated again, so the base alone is active: "
        ):
            chat.answer(QUESTION, max_new_tokens=4)
        assert chat.answer(QUESTION, max_new_tokens=4).adapter is None
    assert chat.pid is None
    with pytest.raises(UserError, match="the chat is closed"):
        chat.start()


@pytest.mark.slow
def test_a_base_that_cannot_be_loaded_is_one_sentence(train_extra: None, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with (
        ChatClient(str(tmp_path), threads=1) as chat,
        pytest.raises(
            UserError, match=f"in {re.escape(str(tmp_path))} cannot be loaded"
        ) as reported,
    ):
        chat.answer(QUESTION, max_new_tokens=4)
    assert "\n" not in str(reported.value)
    assert reported.value.exit_status == 2


def test_it_ends_with_the_process_that_started_it(tiny_base: Path) -> None:
    """Killed without a word, the parent leaves no orphan, even one that still loads."""
    script = (
        "import sys, time\n"
        "from tui_trainer.chat.process import ChatProcess, serve_command\n"
        "p = ChatProcess(serve_command(sys.argv[1], trust_remote_code=False, threads=1))\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tiny_base)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert os.getsid(pid) == pid  # Ctrl-C in the parent's terminal does not reach it
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: gone(pid))


def test_one_process_from_loading_to_closing(train_extra: None) -> None:
    """Cancelled while it loads, spoken to in riddles, answering, closed while it answers."""
    loading, answering = threading.Event(), threading.Event()
    chat = ChatClient(threads=1, on_status=lambda _: loading.set())
    with ThreadPoolExecutor() as pool:
        early = pool.submit(chat.answer, QUESTION, max_new_tokens=200)
        assert loading.wait(30)
        chat.cancel()
        assert early.result(60) == ModelAnswer(
            text="", tokens=0, seconds=0.0, cancelled=True, finish="cancelled"
        )

        process = chat._connection.process
        assert isinstance(process, ChatProcess)
        stdin = process._process.stdin
        assert stdin is not None
        stdin.write(b'{"op":"answer"}\nnonsense\n\xff\n')
        stdin.flush()

        lines = (paths.builtin_model() / "questions.jsonl").read_bytes().splitlines()[::40]
        asked = [msgspec.json.decode(line) for line in lines]
        questions = [[Turn("user", row["question"])] for row in asked]
        batched = chat.answers(questions, adapter=None, max_new_tokens=48)
        assert batched == [chat.answer(turns, max_new_tokens=48).text for turns in questions]
        right = sum(text == row["answer"] for text, row in zip(batched, asked, strict=True))
        assert right >= 0.95 * len(asked)
        assert process.pid == chat.pid

        late = pool.submit(
            chat.answers, questions * 200, adapter=None, max_new_tokens=1000,
            on_progress=lambda *_: answering.set(),
        )  # fmt: skip
        assert answering.wait(30)
        chat.close()
        with pytest.raises(UserError):
            late.result(30)
    assert gone(process.pid)


def test_the_last_lines_are_reported() -> None:
    code = "import sys; print('one\\ntwo', file=sys.stderr); sys.exit(3)"
    process = ChatProcess([sys.executable, "-c", code])
    assert process.startup_events.get(timeout=30) is None
    assert process.end_description() == (
        "the chat process ended with exit status 3; it last printed: one | two"
    )
    assert process.subscribe("afterwards").get(timeout=5) is None
    with pytest.raises(UserError, match="cannot be started"):
        ChatProcess(["/nowhere/python"])
