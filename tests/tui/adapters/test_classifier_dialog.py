"""The dialog in which a classifier is tried."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from textual.app import App
from textual.widgets import Input, Static

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.predict import Prediction
from tui_trainer.tui import themes
from tui_trainer.tui.adapters.classifier_dialog import ClassifierDialog, Load, class_bars


class FakeClassifier:
    """Waits for `free` at each text, and remembers which texts it was given."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.threads: set[int] = set()
        self.free = threading.Event()
        self.closed = threading.Event()

    def text(self, text: str) -> Prediction:
        self.texts.append(text)
        self.threads.add(threading.get_ident())
        self.free.wait(20)
        values = {"cat": 0.75, "dog": 0.25}
        return Prediction(row=1, input=text, label="cat", probability=0.75, probabilities=values)

    def close(self) -> None:
        self.closed.set()


class Host(App[None]):
    """Shows the dialog."""

    def __init__(self, load: Load) -> None:
        super().__init__()
        self._loader = load
        self.register_theme(themes.textual_theme(themes.FALLBACK))
        self.theme = themes.FALLBACK.name

    def on_mount(self) -> None:
        self.push_screen(ClassifierDialog("pets", self._loader))


async def becomes(true: Callable[[], bool]) -> None:
    for _ in range(400):
        if true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("did not happen")


def shown(app: App[None], selector: str) -> str:
    return str(app.screen.query_one(selector, Static).content)


async def test_typed_text_is_classified_in_a_thread_and_only_the_newest_waits() -> None:
    model = FakeClassifier()
    app = Host(lambda _: model)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("a")
        await becomes(lambda: model.texts == ["a"])
        await pilot.press("b", "c", "d")  # the input works while the model is busy
        assert app.screen.query_one(Input).value == "abcd"
        model.free.set()
        await becomes(lambda: model.texts == ["a", "abcd"])
        await becomes(lambda: "cat" in shown(app, "#classes"))
        assert "75 %" in shown(app, "#classes")
        assert threading.get_ident() not in model.threads
        await pilot.press("escape")
        await becomes(model.closed.is_set)


async def test_a_model_that_cannot_be_loaded_is_one_sentence() -> None:
    def load(report: Callable[[str], None]) -> FakeClassifier:
        raise UserError("adapter 'pets' cannot be used: a file is missing")

    app = Host(load)
    async with app.run_test(size=(100, 30)):
        await becomes(lambda: "a file is missing" in shown(app, ".hint"))
        assert app.screen.query_one(".hint").has_class("-wrong")


def test_bars_are_the_most_probable_classes_first() -> None:
    values = {f"class {number}": number / 55 for number in range(11)}
    text = class_bars(values, 60)
    lines = text.plain.split("\n")
    assert [line.split("  ")[0].split(" ━")[0] for line in lines[:2]] == ["class 10", "class 9"]
    assert lines[-1] == "3 other classes: 5 % together"
    assert all(line.cell_length <= 60 for line in text.split("\n"))
    wide = class_bars({"日本語" * 30: 1.0, "x": 0.0}, 40)
    assert all(line.cell_length <= 40 for line in wide.split("\n"))
