"""What every full screen shares: tabs above, keys below, and a sentence where nothing is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

from tui_trainer.tui import keymap
from tui_trainer.tui.common.key_bar import Hint, KeyBar
from tui_trainer.tui.common.markup import plain
from tui_trainer.tui.common.session import AppSession, session_of
from tui_trainer.tui.common.top_bar import TopBar, TopBarState
from tui_trainer.tui.common.wrapped_text import WrappedText
from tui_trainer.tui.keymap import Key

if TYPE_CHECKING:  # the views bring numpy, which comes after the first paint
    from tui_trainer.contracts.hardware import HardwareSample
    from tui_trainer.watch.snapshots import FolderView, RunSummary

# Below this even the folded screens are of no use.
LEAST_WIDTH, LEAST_HEIGHT = 60, 16


class Page(Screen[None]):
    """A screen of its own mode. Subclasses give `body`, `take` and what `target` keys act on.

    Textual calls the `on_` handlers of a subclass and then those here as well.
    """

    place: ClassVar[str] = ""

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield WrappedText(id="sentence")
        yield from self.body()
        yield KeyBar()

    def body(self) -> ComposeResult:
        """The widgets between the two bars; none, unless a page says which."""
        yield from ()

    def take(self, view: FolderView) -> None:
        """Shows a new snapshot: nothing, where a page shows nothing of it."""

    def take_machine(self, samples: tuple[HardwareSample, ...]) -> None:
        """Shows what the machine does now."""

    def use_theme(self) -> None:
        """Puts on the colours of the present theme where the stylesheet does not."""

    def refresh_chat(self) -> None:
        """Shows what the chat or the teaching has come to."""

    def target(self) -> RunSummary | None:
        """The run that pause, stop and their like act on here."""
        return None

    def sentence(self, view: FolderView) -> Content | None:
        """What is said in the middle instead of the body, if anything."""
        return None

    def step_back(self) -> bool:
        """Undoes the innermost thing; False where there is nothing to undo."""
        return False

    def listens_to(self, key: Key) -> bool:
        """Whether a key does here what its hint says."""
        return True

    def wording(self, key: Key) -> tuple[str, int]:
        """The word and the rank of a key in the bottom line here."""
        return key.label, key.rank

    @property
    def session(self) -> AppSession:
        """The app by what screens may ask of it."""
        return session_of(self.app)

    def on_mount(self) -> None:
        self.draw_keys()

    def on_screen_resume(self) -> None:
        self.refresh_all()

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        for name, wanted in layout_classes(width, height).items():
            self.set_class(wanted, name)
        self.call_after_refresh(self.refresh_all)

    def refresh_all(self) -> None:
        """Shows the newest snapshot once more, for a new size, theme or focus."""
        if not self.is_mounted:
            return
        view = self.session.view
        self.draw_place()
        self.say(self.too_small() or self.sentence(view))
        self.take(view)

    def draw_place(self) -> None:
        """Brings the top line up to date."""
        run = self.session.shown_run()
        self.query_one(TopBar).show(
            TopBarState(
                tabs=self.session.tabs(),
                here=self.place,
                run=run.name if run else "",
                status=run.shown_status if run else "",
            )
        )

    def draw_keys(self) -> None:
        """Brings the bottom line up to date."""
        keys = self.session.keymap
        worded = [(key, *self.wording(key)) for key in keymap.keys_of(self.place)]
        hints = tuple(
            Hint(keys.shown(key), label, key.action, rank)
            for key, label, rank in worded
            if rank and self.session.offers(key) and self.listens_to(key)
        )
        self.query_one(KeyBar).show(hints)

    def say(self, content: Content | None) -> None:
        """Says a sentence instead of the body, or shows the body."""
        self.set_class(content is not None, "-saying")
        if content is not None:
            self.query_one("#sentence", WrappedText).update(content)

    def too_small(self) -> Content | None:
        """What is said where the terminal has no room for the body."""
        width, height = self.size
        if width >= LEAST_WIDTH and height >= LEAST_HEIGHT:
            return None
        return Content(
            f"This terminal is {width}×{height}; tui-trainer needs {LEAST_WIDTH}×{LEAST_HEIGHT} "
            "and likes 80×24. Make it larger, please; runs go on meanwhile."
        )


def layout_classes(width: int, height: int) -> dict[str, bool]:
    """Which layouts a terminal of this size has, by class name.

    `-narrow` folds the side to lines, `-slim` makes it slimmer, `-short` folds the lower
    chart, `-low` the events; `-large` shows every chart at once.
    """
    return {
        "-narrow": width < 100,
        "-slim": 100 <= width < 120,
        "-short": height < 28,
        "-low": height < 34,
        "-large": width >= 150 and height >= 46,
    }


def problem_of(view: FolderView) -> Content | None:
    if view.problem is None:
        return None
    return Content.assemble(
        plain(view.problem, "bold $error"),
        "\n\nIt is looked for again all the time: as soon as it can be read, its runs are here.\n",
        ("tui-trainer --runs-dir DIR", "$accent"),
        " or ",
        ("tui-trainer monitor DIR", "$accent"),
        " watches another folder.",
    )


def teach(view: FolderView, monitor_only: bool) -> Content | None:
    """What a folder without runs says: what is wrong with it, or what goes here and the key
    that makes the first one. A folder that is not there yet is made by the first run."""
    if view.problem is not None and (monitor_only or view.root.exists()):
        return problem_of(view)
    if view.runs or view.loading:
        return Content("reading the folder …") if view.loading and not view.runs else None
    root = plain(str(view.root), "bold")
    if monitor_only:
        return Content.assemble(
            "no runs in ",
            root,
            " yet.\n\nA run appears here by itself as soon as a folder or a "
            ".jsonl file with steps is written there.",
        )
    return Content.assemble(
        "no runs in ",
        root,
        " yet.\n\n",
        ("n", "bold $accent"),
        " makes one, or  ",
        ("tui-trainer train JOB.toml", "$accent"),
        "  from a shell.",
    )


def focus_in_order(panes: list[Widget], focused: Widget | None, step: int) -> Widget | None:
    """The pane `step` places after the focused one, going round."""
    if not panes:
        return None
    if focused not in panes:
        return panes[0] if step > 0 else panes[-1]
    return panes[(panes.index(focused) + step) % len(panes)]
