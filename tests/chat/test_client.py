"""The chat process through its client, as the app uses it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.chat.client import ChatClient, ModelAnswer
from tui_trainer.contracts.chat.protocol import (
    BatchRequest,
    CancelRequest,
    Request,
    RequestFailed,
    RequestProgress,
)
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.store import model_files

Make = Callable[..., Path]
QUESTION = [Turn("user", "the cat sat on the mat")]


@pytest.fixture(scope="module")
def adapters(qwen2_base: Path, make_adapter: Make) -> dict[str, Path]:
    """Two different adapters for the random Qwen2."""
    return {"one": make_adapter(qwen2_base, seed=1), "v1.2": make_adapter(qwen2_base, seed=2)}


def test_the_base_is_described(chat: ChatClient, qwen2_base: Path) -> None:
    facts = chat.start()
    assert facts == chat.facts
    assert (facts.model, facts.path) == (str(qwen2_base), str(qwen2_base))
    assert facts.base_hash == model_files.hash_model(qwen2_base)
    assert (facts.context, facts.chat_template, facts.threads) == (4096, True, 1)


def test_an_answer_streams_and_is_the_same_again(chat: ChatClient) -> None:
    pieces: list[str] = []
    answer = chat.answer(QUESTION, max_new_tokens=32, on_token=pieces.append)
    assert answer.text == "".join(pieces)
    assert len(pieces) > 1
    assert 1 < answer.tokens <= 32
    assert (answer.cancelled, answer.adapter, answer.dropped_turns) == (False, None, 0)
    again = chat.answer(QUESTION, max_new_tokens=32)
    assert (again.text, again.tokens) == (answer.text, answer.tokens)


def test_a_cancelled_answer_ends_early_and_the_next_one_is_whole(chat: ChatClient) -> None:
    whole = chat.answer(QUESTION, max_new_tokens=24)
    started_at: list[str] = []

    def stop(piece: str) -> None:
        if not started_at:
            chat.cancel()
        started_at.append(piece)

    answer = chat.answer(QUESTION, max_new_tokens=3000, on_token=stop)
    assert answer.cancelled
    assert answer.tokens < 3000
    assert answer.text == "".join(started_at)
    assert chat.answer(QUESTION, max_new_tokens=24).text == whole.text


def test_a_waiting_answer_can_be_cancelled(chat: ChatClient) -> None:
    first_piece, waiting = threading.Event(), threading.Event()

    def hold(_: str) -> None:
        first_piece.set()
        waiting.wait(20)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(chat.answer, QUESTION, max_new_tokens=3000, on_token=hold)
        assert first_piece.wait(20)
        second = pool.submit(chat.answer, QUESTION, max_new_tokens=3000)
        while len(chat._active_answers) < 2:
            time.sleep(0.001)
        chat.cancel()
        waiting.set()
        assert first.result(30).cancelled
        assert second.result(30).cancelled
    assert not chat.answer(QUESTION, max_new_tokens=4).cancelled


@pytest.fixture
def sent(chat: ChatClient, monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What the client sends to the process."""
    process, seen = chat._connection.ready_process(), list[Request]()
    send = process.send

    def note(request: Request) -> None:
        seen.append(request)
        send(request)

    monkeypatch.setattr(process, "send", note)
    return seen


def test_an_exception_of_a_callback_cancels_the_request(
    chat: ChatClient, sent: list[Request]
) -> None:
    def refuse(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chat.answer(QUESTION, max_new_tokens=3000, on_token=refuse)
    with pytest.raises(KeyboardInterrupt):
        chat.answers([QUESTION] * 3, adapter=None, max_new_tokens=3000, on_progress=refuse)
    for asked, ended in (sent[:2], sent[2:]):
        assert isinstance(ended, CancelRequest)
        assert ended.target == asked.id
    assert chat.answer(QUESTION, max_new_tokens=4).tokens == 4


def test_a_cancelled_batch_ends(chat: ChatClient) -> None:
    process = chat._connection.ready_process()
    questions = [QUESTION] * 3
    request = BatchRequest(id="batch", questions=questions, source="base", max_new_tokens=3000)
    waiting = process.subscribe(request.id)
    process.send(request)
    assert isinstance(waiting.get(timeout=30), RequestProgress)
    process.send(CancelRequest(id="no matter", target=request.id))
    reported = [waiting.get(timeout=30)]
    while isinstance(reported[-1], RequestProgress):
        reported.append(waiting.get(timeout=30))
    process.unsubscribe(request.id)
    assert reported[-1] == RequestFailed(id="batch", message="cancelled", exit_status=130)


def test_many_threads_get_their_own_answers(chat: ChatClient) -> None:
    questions = [[Turn("user", f"the dog {n}")] for n in range(6)]
    alone = [chat.answer(turns, max_new_tokens=12).text for turns in questions]
    assert len(set(alone)) > 1
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda turns: chat.answer(turns, max_new_tokens=12), questions))
    assert [answer.text for answer in together] == alone


def test_adapters_are_switched_weighted_and_deactivated(
    chat: ChatClient, adapters: dict[str, Path]
) -> None:
    def ask() -> ModelAnswer:
        return chat.answer(QUESTION, max_new_tokens=16)

    base = ask()
    found = {}
    for weights in ({"one": 1.0}, {"v1.2": 1.0}, {"one": 0.7, "v1.2": 0.3}, {"one": -1.0}):
        chat.use(weights, adapters)
        assert chat.live == weights
        answer = ask()
        assert answer.adapters == weights
        found[answer.adapter] = answer.text
    assert list(found) == ["one", "v1.2", "one=0.7 v1.2=0.3", "one=-1"]
    assert len({base.text, *found.values()}) == 5
    chat.use({"one": 0.0, "v1.2": 0.0}, adapters)
    assert ask().text == base.text
    chat.use({}, {})
    assert (ask().text, ask().adapter) == (base.text, None)
    chat.use({"one": 1.0}, adapters)
    assert ask().text == found["one"]


def test_a_refused_switch_keeps_the_active_adapters(
    chat: ChatClient, adapters: dict[str, Path], tiny_base: Path, make_adapter: Make, tmp_path: Path
) -> None:
    chat.use({"one": 1.0}, adapters)
    before = chat.answer(QUESTION, max_new_tokens=16).text
    broken = tmp_path / "broken"
    shutil.copytree(adapters["one"], broken)
    weights = broken / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    for folder, expected in (
        (make_adapter(tiny_base), "another base"),
        (broken, "incomplete"),
        (tmp_path / "nowhere", "cannot be read"),
    ):
        with pytest.raises(UserError, match=expected):
            chat.use({"one": 0.5, "other": 0.5}, {**adapters, "other": folder})
        with pytest.raises(UserError, match=expected if "read" not in expected else "missing"):
            chat.check(folder)
    with pytest.raises(UserError, match="does not name the folder of adapter"):
        chat.use({"three": 1.0}, adapters)
    assert chat.live == {"one": 1.0}
    assert chat.answer(QUESTION, max_new_tokens=16).text == before


def test_batches_use_base_active_and_candidate_adapters(
    chat: ChatClient, adapters: dict[str, Path]
) -> None:
    questions = [[Turn("user", f"the dog ran {n}")] for n in range(5)]

    def one_by_one() -> list[str]:
        return [chat.answer(turns, max_new_tokens=10).text for turns in questions]

    base = one_by_one()
    chat.use({"v1.2": 1.0}, adapters)
    candidate = one_by_one()
    chat.use({"one": 1.0}, adapters)
    live = one_by_one()
    progress: list[tuple[int, int]] = []

    def report(done: int, total: int) -> None:
        progress.append((done, total))

    assert chat.answers(questions, adapter=None, max_new_tokens=10) == base
    assert (
        chat.answers(questions, adapter=adapters["v1.2"], max_new_tokens=10, on_progress=report)
        == candidate
    )
    assert chat.answers(questions, adapter="live", max_new_tokens=10) == live
    assert chat.answers([], adapter=None, max_new_tokens=10) == []
    assert one_by_one() == live
    assert len({tuple(base), tuple(candidate), tuple(live)}) == 3
    assert (progress[0], progress[-1]) == ((0, 5), (5, 5))
    with pytest.raises(UserError, match="there is no question"):
        chat.answers([*questions, []], adapter=None, max_new_tokens=10)


def test_answers_are_given_during_a_batch(chat: ChatClient, adapters: dict[str, Path]) -> None:
    """A question and even a switch come between; neither side notices the other."""
    questions = [[Turn("user", f"the dog ran {n}")] for n in range(4)]
    wanted = chat.answers(questions, adapter=None, max_new_tokens=150)
    chat.use({"one": 1.0}, adapters)
    live = chat.answer(QUESTION, max_new_tokens=10).text
    chat.use({"v1.2": 1.0}, adapters)
    switched = chat.answer(QUESTION, max_new_tokens=10).text
    chat.use({"one": 1.0}, adapters)
    begun, batch_over = threading.Event(), threading.Event()

    def answer_batch() -> list[str]:
        try:
            return chat.answers(
                questions, adapter=None, max_new_tokens=150, on_progress=lambda *_: begun.set()
            )
        finally:
            batch_over.set()

    with ThreadPoolExecutor() as pool:
        batch = pool.submit(answer_batch)
        assert begun.wait(30)
        assert chat.answer(QUESTION, max_new_tokens=10).text == live
        chat.use({"v1.2": 1.0}, adapters)
        assert chat.answer(QUESTION, max_new_tokens=10).text == switched
        assert not batch_over.is_set()
        assert batch.result(60) == wanted


def test_long_conversations_are_trimmed_and_count_dropped_turns(chat: ChatClient) -> None:
    turns = []
    for number in range(30):
        turns += [Turn("user", f"question {number} {'x' * 200}"), Turn("assistant", "answer")]
    answer = chat.answer([*turns, Turn("user", "and now?")], max_new_tokens=4)
    assert 0 < answer.dropped_turns < 60
    with pytest.raises(UserError, match="the base reads at most 4,096; shorten"):
        chat.answer([Turn("user", "x" * 5000)], max_new_tokens=4)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_new_tokens": 4, "temperature": -1.0}, "temperature"),
        ({"max_new_tokens": 4, "temperature": float("nan")}, "temperature"),
        ({"max_new_tokens": 4, "top_p": 1.5}, "top_p"),
        ({"max_new_tokens": 4, "turns": [Turn("user", "\udce4")]}, "not valid UTF-8"),
    ],
)
def test_invalid_requests_are_refused(
    chat: ChatClient, values: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        chat.answer(**{"turns": QUESTION, **values})
    assert chat.answer(QUESTION, max_new_tokens=2).tokens == 2


def test_adapters_are_checked_compared_and_merged(
    chat: ChatClient, adapters: dict[str, Path], tmp_path: Path
) -> None:
    facts = chat.check(adapters["one"])
    assert (facts.rank, facts.alpha, len(facts.layers)) == (4, 8.0, 4)
    comparison = chat.compare(adapters["one"], adapters["v1.2"])
    assert [row.layer for row in comparison.layers] == facts.layers
    assert comparison.whole.difference > comparison.whole.a > 0
    stages: list[str] = []
    out = chat.merge(adapters["one"], tmp_path / "merged", on_progress=stages.append)
    assert (out / "model.safetensors").is_file()
    assert stages == ["loading the base", "merging", "writing the model", "done"]
    with pytest.raises(UserError, match="is not an empty folder"):
        chat.merge(adapters["one"], out)
    with pytest.raises(UserError, match="is missing"):
        chat.compare(adapters["one"], tmp_path)

    def refuse(_: str) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        chat.merge(adapters["one"], tmp_path / "other", on_progress=refuse)
