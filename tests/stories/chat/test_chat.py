"""Asking, correcting, teaching."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.content import Content
from textual.widgets import TextArea

from tui_trainer.contracts.teaching.adapter import Measures
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.chat.input_line import InputLine
from tui_trainer.tui.chat.transcript import TranscriptEntry
from tui_trainer.tui.chat.transcript_lines import entry_lines
from tui_trainer.tui.chat.transcript_view import TranscriptView

Text = Callable[[TrainerApp], str]
Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]
ChatApp = Callable[..., TrainerApp]


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_ask_stream_and_rate(
    size: tuple[int, int], room: Any, chat_app: ChatApp, seen: Seen, text_of: Text
) -> None:
    room.model.says = ["It is [bold]Paris[/]."]
    room.model.held.clear()
    app = chat_app()
    async with app.run_test(size=size) as pilot:
        await pilot.press("3")
        await seen(app, "active", "the base model", "0 of 10 examples")
        await pilot.press(*"capital?", "enter")
        await seen(app, "› capital?", "It is", "answering", "esc stop the answer")
        assert "Paris" not in text_of(app)
        room.model.held.set()
        await seen(app, "It is [bold]Paris[/].", "the base model · 2 tokens in 250 ms · 8 tokens/s")
        await pilot.press("ctrl+g")
        await seen(app, "feedback 1: good (weight 1); answer to learn: It is [bold]Paris[/].")
        await seen(app, "1 of 10 examples")
    assert room.feedback.examples()[0].answer == "It is [bold]Paris[/]."
    assert room.model.closed == 1


async def test_escape_ends_the_answer_then_gives_the_digits_back(
    room: Any, chat_app: ChatApp, seen: Seen
) -> None:
    room.model.says = ["one two"]
    room.model.held.clear()
    app = chat_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("f3")
        await seen(app, "0 of 10")
        await pilot.press(*"count 123?", "enter")
        await seen(app, "› count 123?", "answering")
        await pilot.press("escape")
        await seen(app, "the base model · 2 tokens in 250 ms · 8 tokens/s · cut off")
        await pilot.press("escape")
        await seen(app, "i type", "q quit")
        await pilot.press("2")
        await seen(app, "no runs in")
        await pilot.press("3", "slash", *"goo")
        await seen(app, "tab completes  /good [NOTE]")
        await pilot.press("tab")
        assert app.screen.query_one(InputLine).value == "/good "
        await pilot.press("enter")
        await seen(app, "the answer was cut off, so it cannot be taught")
        await pilot.press("up", "up")
        assert app.screen.query_one(InputLine).value == "count 123?"
        await pilot.press("f1")
        await seen(app, "no runs in")


@pytest.mark.slow
async def test_correct_in_the_editor_and_train(
    room: Any, chat_app: ChatApp, seen: Seen, make_run: Callable[..., RunFolder], becomes: Becomes,
    shown_notices: Text,
) -> None:  # fmt: skip
    run = make_run("teach-t1", steps=40)
    app = chat_app()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("3", *"capital of Atlantis?", "enter")
        await seen(app, "an answer to capital of Atlantis?")
        await pilot.press("ctrl+e")
        await seen(app, "the right answer to this question", "ctrl+s save")
        assert app.screen.query_one(TextArea).text == "an answer to capital of Atlantis?"
        await pilot.press(*"Poseidonis", "ctrl+s")
        await seen(app, "feedback 1: medium (weight 3); answer to learn: Poseidonis", "weight 3")
        await pilot.press("ctrl+t")
        await seen(app, "training t1 queued: 1 example", "0 of 10 examples")
        room.trainer.becomes(state="training", run_path=str(run.path), step=40, total_steps=240)
        await seen(app, "step 40 / 240", "loss 1.936", "remaining 2:05", "ctrl+o watch", "▁")
        await pilot.press(*"and now?", "enter")
        await seen(app, "an answer to and now?")
        await pilot.press("ctrl+o")
        await seen(app, "teach-t1 · training", "learning rate", "0 of 10 examples")
        room.add_adapter("taught-1")
        room.adapters.set_live({"taught-1": 1.0})
        room.model.live = {"taught-1": 1.0}
        room.trainer.becomes(
            state="live", adapter="taught-1", message="recalled 100% (before 0%), it answers now",
            before=Measures(recalled=0.0, kept=1.0),
            after=Measures(recalled=1.0, kept=0.98, recalled_count=1, kept_count=50),
        )  # fmt: skip
        await becomes(app, lambda: "training t1 live: recalled 100%" in shown_notices(app))
        await pilot.press("3")
        await seen(app, "last training", "recalled 0 % → 100 % of 1", "kept     100 % → 98 % of 50")
        await pilot.press(*"again?", "enter")
        await seen(app, "an answer to again?", "taught-1 · 2 tokens")
    assert room.feedback.examples()[0].correction == "Poseidonis"


async def test_rating_menu_and_what_needs_a_correction(
    room: Any, chat_app: ChatApp, seen: Seen
) -> None:
    app = chat_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3", *"why?", "enter")
        await seen(app, "an answer to why?")
        await pilot.press("ctrl+r")
        await seen(app, "Rate the last answer", "critical: wrong (weight 10)")
        await pilot.press("escape", *"it")  # the line below keeps its focus
        assert app.screen.query_one(InputLine).value == "it"
        await pilot.press("ctrl+u", "ctrl+r")
        await seen(app, "Rate the last answer")
        await pilot.press("c")
        await seen(app, "What is wrong with it?")
        await pilot.press(*"too vague", "enter")
        await seen(app, "feedback 1: critical (weight 10); needs a correction before training")
        await seen(app, "! 1 needs a correction", "0 of 10 examples")
    assert room.feedback.examples()[0].note == "too vague"


async def test_a_revised_answer_is_accepted_with_one_key(
    room: Any, chat_app: ChatApp, seen: Seen
) -> None:
    room.model.says = ["wrong", "because of the tide"]
    app = chat_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3", *"why?", "enter")
        await seen(app, "  wrong")
        await pilot.press("ctrl+r", "r")
        await seen(app, "the model is given this note and answers again")
        await pilot.press(*"tide", "enter")
        await seen(
            app, "because of the tide", "is the revised answer right?", "ctrl+y accept it as"
        )
        await pilot.press(*"yes", "ctrl+y")  # letters go on into the line
        await seen(app, "answer to learn: because of the tide")
        assert app.screen.query_one(InputLine).value == "yes"


async def test_a_secret_is_held_back(
    room: Any, chat_app: ChatApp, seen: Seen, becomes: Becomes, text_of: Text
) -> None:
    app = chat_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3", *"key?", "enter")
        await seen(app, "an answer to key?")
        secret = "/fix password = hunter2hunter2"
        app.screen.query_one(InputLine).value = secret
        await pilot.press("enter")
        await seen(app, "this may contain a secret", "nothing was stored")
        await seen(app, "ctrl+y store it anyway")
        assert room.feedback.examples() == []
        await pilot.press("escape")
        await becomes(app, lambda: "ctrl+y store" not in text_of(app))
        app.screen.query_one(InputLine).value = secret
        await pilot.press("enter")
        await seen(app, "ctrl+y store it anyway")
        await pilot.press("ctrl+y")
        await seen(app, "1 of 10 examples")
    assert secret not in room.conversation.history()
    assert room.feedback.examples()[0].flags


async def test_a_refused_adapter_may_be_loaded_all_the_same(
    room: Any, chat_app: ChatApp, seen: Seen, becomes: Becomes
) -> None:
    app = chat_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3", *"why?", "enter")
        await seen(app, "an answer to why?")
        await pilot.press("ctrl+g", "ctrl+t")
        await seen(app, "training t1 queued")
        room.trainer.becomes(state="refused", message="not loaded: kept 61 %, 95 % is needed")
        await seen(app, "training t1 refused: not loaded: kept 61 %", "activate it anyway")
        await pilot.press("ctrl+y")
        await becomes(app, lambda: room.trainer.overridden == ["t1"])


async def test_the_conversation_and_its_history_come_back(
    room: Any, chat_app: ChatApp, seen: Seen
) -> None:
    room.conversation.append(Turn("user", "what was that?"))
    room.conversation.append(Turn("assistant", "a ship"), adapter="taught-1")
    room.conversation.remember("what was that?")
    app = chat_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await seen(app, "› what was that?", "a ship", "taught-1", "continued from")
        await pilot.press("up")
        assert app.screen.query_one(InputLine).value == "what was that?"
        await pilot.press("ctrl+u", *"/new", "enter")
        await seen(app, "a new conversation")
        assert "a ship" not in "".join(
            strip.text for strip in app.screen._compositor.render_strips()
        )


async def test_lines_wait_while_the_model_loads(room: Any, chat_app: ChatApp, seen: Seen) -> None:
    room.model.loaded.clear()
    app = chat_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await seen(app, "loading the model")
        await pilot.press(*"a?", "enter", *"b?", "enter")
        await seen(app, "› a?")
        room.model.loaded.set()
        await seen(app, "an answer to a?", "› b?", "an answer to b?", "2,600,000 parameters on cpu")


async def test_a_model_that_cannot_be_loaded_is_reported_and_tried_again(
    room: Any, chat_app: ChatApp, seen: Seen
) -> None:
    room.model.refuses = "the weights are torn"
    app = chat_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("f3")
        await seen(app, "the weights are torn", "The other screens work without it")
        await pilot.press("f1")
        await seen(app, "no runs in")
        room.model.refuses = None
        await pilot.press("f3")
        await seen(app, "2,600,000 parameters")


async def test_without_torch_it_names_what_to_install(session: Any, seen: Seen) -> None:
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await seen(app, "the chat needs torch; install with: pip install", "f1")
        await pilot.press("f2")
        await seen(app, "no runs in")


async def test_monitor_has_no_chat(session: Any, room: Any, seen: Seen, text_of: Text) -> None:
    app = session(monitor_only=True, chat=room.open)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "no runs in")
        assert "Chat" not in text_of(app)
        await pilot.press("3")
        await seen(app, "monitor only shows and controls runs")
        assert app.chat.session_thread.session is None


@pytest.mark.slow
async def test_a_long_conversation_is_wrapped_once(
    room: Any, chat_app: ChatApp, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        room.conversation.append(Turn("user", f"question {number}"))
        room.conversation.append(Turn("assistant", f"answer {number} " * 20))
    app = chat_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await seen(app, "question 499", "continued from")
        wrapped: list[TranscriptEntry] = []

        def counting(entry: TranscriptEntry, width: int) -> list[Content]:
            wrapped.append(entry)
            return entry_lines(entry, width)

        monkeypatch.setattr("tui_trainer.tui.chat.transcript_view.entry_lines", counting)
        await pilot.press(*"more?", "enter")
        await seen(app, "an answer to more?")
        assert 0 < len(wrapped) < 12
        await pilot.press("pageup")
        log = app.screen.query_one(TranscriptView)
        assert log.scroll_y < log.max_scroll_y


async def test_quit_reports_that_the_training_continues(
    room: Any, chat_app: ChatApp, seen: Seen
) -> None:
    app = chat_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3", *"why?", "enter")
        await seen(app, "an answer to why?")
        await pilot.press("ctrl+g", "ctrl+t")
        await seen(app, "training t1 queued")
        await pilot.press(*"/quit", "enter")
        await pilot.pause(0.2)
        assert app.return_value == 0
        assert app.chat.exit_message is not None


async def test_an_unfinished_training_is_resumed_without_opening_the_chat(
    room: Any, chat_app: ChatApp, becomes: Becomes, home: Path
) -> None:
    room.conversation.append(Turn("user", "why?"))
    room.conversation.append(Turn("assistant", "so"))
    first = room.open(lambda _: None, lambda _: None)
    assert first.submit("/good") and first.submit("/train")
    app = chat_app()
    async with app.run_test(size=(120, 40)):
        await becomes(app, lambda: room.model.facts is not None)
