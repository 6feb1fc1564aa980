"""The base of every full screen: tabs above, keys below, and a placeholder for an empty body."""

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
from tui_trainer.tui.keymap import Key, Keymap

if TYPE_CHECKING:  # the views bring numpy, which comes after the first paint
    from tui_trainer.contracts.hardware import HardwareSample
    from tui_trainer.watch.snapshots import FolderView, RunSummary

# Below this size not even the folded layout is readable.
LEAST_WIDTH, LEAST_HEIGHT = 60, 16
# The ways to begin in a folder without runs: the key's id and a sentence.
FIRST_STEPS = {
    "train_example": "train the built-in model on a small example: nothing to download",
    "new_run": "train a model on my data: a form with what a run needs",
    "show_chat": "talk to a model, and teach it by correcting its answers",
    "watch_folder": "watch another folder of runs, also those of other tools",
}


class Page(Screen[None]):
    """A screen of one mode. Subclasses define `body`, `show_snapshot` and `target`.

    Textual calls the `on_` handlers of a subclass and then those here as well.
    """

    mode_name: ClassVar[str] = ""  # as in `keymap.REACH`

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield WrappedText(id="placeholder")
        yield from self.body()
        yield KeyBar()

    def body(self) -> ComposeResult:
        """The widgets between the two bars; none by default."""
        yield from ()

    def show_snapshot(self, view: FolderView) -> None:
        """Show a new snapshot of the folder; does nothing by default."""

    def show_hardware(self, samples: tuple[HardwareSample, ...]) -> None:
        """Show the newest hardware samples; does nothing by default."""

    def use_theme(self) -> None:
        """Apply the colours of the current theme where the stylesheet does not."""

    def refresh_chat(self) -> None:
        """Show the current state of the chat; does nothing by default."""

    def target(self) -> RunSummary | None:
        """The run that pause, stop and similar keys act on; None by default."""
        return None

    def placeholder(self, view: FolderView) -> Content | None:
        """The text shown in the middle instead of the body; None to show the body."""
        return None

    def step_back(self) -> bool:
        """Close the innermost pane, cursor or question; False if there is none."""
        return False

    def is_key_enabled(self, key: Key) -> bool:
        """Whether a key works in the current state, so that its hint is shown."""
        return True

    def key_hint(self, key: Key) -> tuple[str, int]:
        """The label and the rank of a key in the bottom line; the rank 0 hides it."""
        return key.label, key.rank

    @property
    def session(self) -> AppSession:
        """The app, as its screens see it."""
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
        """Show the newest snapshot again, for a new size, theme or focus."""
        if not self.is_mounted:
            return
        view = self.session.view
        self.draw_top_bar()
        self.show_placeholder(self.too_small() or self.placeholder(view))
        self.show_snapshot(view)

    def draw_top_bar(self) -> None:
        """Update the top line."""
        run = self.session.shown_run()
        self.query_one(TopBar).show(
            TopBarState(
                tabs=self.session.keymap.tabs(self.session.monitor_only),
                current=self.mode_name,
                run=run.name if run else "",
                status=run.shown_status if run else "",
            )
        )

    def draw_keys(self) -> None:
        """Update the bottom line."""
        keys = self.session.keymap
        hint_of = self._first_hint if self._shows_first_steps() else self.key_hint
        labelled = [(key, *hint_of(key)) for key in keymap.keys_of(self.mode_name)]
        hints = tuple(
            Hint(keys.shown(key), label, key.action, rank)
            for key, label, rank in labelled
            if rank and self.session.offers(key) and self.is_key_enabled(key)
        )
        self.query_one(KeyBar).show(hints)

    def _shows_first_steps(self) -> bool:
        view = self.session.view
        about_runs = self.mode_name in ("dashboard", "runs") and self.has_class("-placeholder")
        return about_runs and not view.runs and not view.loading

    def _first_hint(self, key: Key) -> tuple[str, int]:
        """The keys that work in a folder without runs."""
        if key.scope == "app" and key.id != "new_run":
            return key.label, key.rank
        return key.label, 3 if key.id in FIRST_STEPS else 0

    def show_placeholder(self, content: Content | None) -> None:
        """Show a text instead of the body; None shows the body."""
        if self.has_class("-placeholder") != (content is not None):
            self.call_after_refresh(self.draw_keys)
        self.set_class(content is not None, "-placeholder")
        if content is not None:
            self.query_one("#placeholder", WrappedText).update(content)

    def too_small(self) -> Content | None:
        """The text for a terminal that is too small for the body; None if it is large enough."""
        width, height = self.size
        if width >= LEAST_WIDTH and height >= LEAST_HEIGHT:
            return None
        return Content(
            f"The terminal is {width}×{height}. tui-trainer needs at least "
            f"{LEAST_WIDTH}×{LEAST_HEIGHT}; 80×24 is recommended. Enlarge the window; "
            "runs are not affected."
        )


def layout_classes(width: int, height: int) -> dict[str, bool]:
    """The layout classes of a terminal of this size in cells.

    `-narrow` folds the side panels to single lines, `-slim` narrows them, `-short` hides the
    lower chart, `-low` folds the events; `-large` shows every chart at once.
    """
    return {
        "-narrow": width < 100,
        "-slim": 100 <= width < 120,
        "-short": height < 28,
        "-low": height < 34,
        "-large": width >= 150 and height >= 46,
    }


def problem_of(view: FolderView) -> Content | None:
    """What is wrong with the folder and what to do; None if it can be read."""
    if view.problem is None:
        return None
    return Content.assemble(
        plain(view.problem, "bold $error"),
        "\n\nThe folder is checked continuously: its runs appear as soon as it can be read.\n",
        ("tui-trainer --runs-dir DIR", "$accent"),
        " or ",
        ("tui-trainer monitor DIR", "$accent"),
        " watches a different folder.",
    )


def empty_folder_text(view: FolderView, keys: Keymap, monitor_only: bool) -> Content | None:
    """The text for a folder without runs: its problem, or what appears here and the key that
    creates the first run. The first run creates a folder that does not exist yet."""
    if view.problem is not None and (monitor_only or view.root.exists()):
        return problem_of(view)
    if view.runs or view.loading:
        return Content("reading the folder …") if view.loading and not view.runs else None
    root = plain(str(view.root), "bold")
    steps = FIRST_STEPS if not monitor_only else {"watch_folder": FIRST_STEPS["watch_folder"]}
    shown = {id: keys.shown_by_id(id) for id in steps}
    width, longest = max(map(len, shown.values())), max(map(len, steps.values()))
    lines = [  # of equal length, as the text is centred
        Content.assemble((shown[id].ljust(width), "bold $accent"), f"  {text.ljust(longest)}")
        for id, text in steps.items()
    ]
    if monitor_only:
        found = (
            "\n\nA run appears here as soon as a run folder or a .jsonl file with steps is written "
            "there.\n\n"
        )
        return Content.assemble("no runs in ", root, " yet.", found, *lines)
    return Content.assemble("no runs in ", root, " yet.\n\n", Content("\n").join(lines))


def focus_in_order(panes: list[Widget], focused: Widget | None, step: int) -> Widget | None:
    """The pane `step` positions after the focused one, wrapping around."""
    if not panes:
        return None
    if focused not in panes:
        return panes[0] if step > 0 else panes[-1]
    return panes[(panes.index(focused) + step) % len(panes)]
