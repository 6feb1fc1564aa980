"""The adapters screen: the adapters of the store, and which of them are active."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable

from tui_trainer.store.adapters.adapter_store import AdapterEntry
from tui_trainer.tui import keymap
from tui_trainer.tui.adapters import adapter_rows, background_tasks
from tui_trainer.tui.adapters.adapter_checks import AdapterChecks
from tui_trainer.tui.adapters.adapter_filter import AdapterFilter
from tui_trainer.tui.adapters.adapter_names import name_problem, weights_problem
from tui_trainer.tui.adapters.adapter_panel import AdapterPanel, no_adapters_text
from tui_trainer.tui.adapters.adapter_rows import AdapterListing
from tui_trainer.tui.adapters.adapter_table import AdapterTable
from tui_trainer.tui.adapters.classifier_dialog import ClassifierDialog
from tui_trainer.tui.adapters.comparison import ComparisonResult, comparison_text
from tui_trainer.tui.adapters.edit_dialog import EditDialog
from tui_trainer.tui.adapters.messages import AdaptersRead
from tui_trainer.tui.chat.controller import chat_of
from tui_trainer.tui.common.background import in_background
from tui_trainer.tui.common.dialogs.pick import PickDialog
from tui_trainer.tui.common.dialogs.progress import ProgressDialog
from tui_trainer.tui.common.dialogs.prompt import PromptDialog
from tui_trainer.tui.common.dialogs.text_view import TextView
from tui_trainer.tui.common.filter_line import FilterLine
from tui_trainer.tui.common.markup import plain
from tui_trainer.tui.common.page import Page
from tui_trainer.tui.keymap import Key
from tui_trainer.tui.runs.list_status import ListStatus, ListStatusLine
from tui_trainer.watch.snapshots import FolderView

_HINT = "a word, tag:support, val_accuracy>=0.9, steps>100, age<1d, -excluded"
_MARKED_KEYS = frozenset({"compare", "ensemble"})  # they act on marked adapters
_REFRESH_SECONDS = 5.0  # for changes by other sessions; those by this one are shown at once


class AdaptersScreen(Page):
    """A table of adapters with one of them in detail."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar = keymap.bindings("adapters")
    AUTO_FOCUS = "AdapterTable"
    mode_name = "adapters"

    def __init__(self) -> None:
        super().__init__()
        self._listing = AdapterListing(loading=True)
        self._marked: list[str] = []
        self._filter = AdapterFilter()
        self._checks = AdapterChecks(self.post_message)
        self._reading = False
        self._stale = False  # whether the store changed after the current read started
        self._renamed: str | None = None  # the new name, until it is listed

    def body(self) -> ComposeResult:
        yield FilterLine(_HINT)
        yield ListStatusLine()
        with Horizontal(id="adapters-body"):
            yield AdapterTable()
            with VerticalScroll(id="adapter", can_focus=False):
                yield AdapterPanel()

    def on_mount(self) -> None:
        self.set_interval(_REFRESH_SECONDS, self.refresh_listing)
        # The key that scrolls the details is shown where they do not fit.
        self.watch(self._details, "show_vertical_scrollbar", self.draw_keys, init=False)

    def on_screen_resume(self) -> None:
        self.refresh_listing()

    def refresh_listing(self) -> None:
        """Read the store in the background, if this screen is shown."""
        if self.is_current and self._reading:
            self._stale = True
        elif self.is_current:
            self._reading, self._stale = True, False
            in_background(
                "adapters",
                lambda: self.post_message(AdaptersRead(background_tasks.read_adapters())),
            )

    def placeholder(self, view: FolderView) -> Content | None:
        if self._listing.problem is not None:
            return plain(self._listing.problem, "bold $error")
        if self._listing.items:
            return None
        if self._listing.loading:
            return Content("reading the adapters …")
        return no_adapters_text(len(self._listing.trash), self.session.keymap)

    def show_snapshot(self, view: FolderView) -> None:
        if self.is_current:
            self._fill()

    def refresh_chat(self) -> None:
        """Read the store again: the active adapters may have changed."""
        self.refresh_listing()

    @on(AdaptersRead)
    def _read(self, message: AdaptersRead) -> None:
        self._reading = False
        if message.listing != self._listing:
            self._listing = message.listing
            names = {item.info.name for item in self._listing.items}
            self._marked = [name for name in self._marked if name in names]
            self.refresh_all()
        elif self._filter.text:  # perhaps by age
            self._fill()
        if self._stale:
            self.refresh_listing()

    @on(FilterLine.Changed)
    def _filtered(self) -> None:
        self._fill()

    @on(FilterLine.Done)
    def _filter_done(self) -> None:
        self._table.focus()
        self.call_after_refresh(self.refresh_all)

    def step_back(self) -> bool:
        if not self.query_one(FilterLine).close():
            return False
        self._table.focus()
        return True

    def is_key_enabled(self, key: Key) -> bool:
        item = self._item()
        if key.id == "try":
            return item is not None and item.info.task == "classification"
        return key.id != "scroll_details" or self._details.show_vertical_scrollbar

    def key_hint(self, key: Key) -> tuple[str, int]:
        return key.label, 4 if key.id in _MARKED_KEYS and self._marked else key.rank

    # -- keys ---------------------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        self._table.move_cursor(row=self._table.cursor_row + step)

    def action_filter(self) -> None:
        if not self.has_class("-placeholder"):  # there are adapters
            self.query_one(FilterLine).open()

    def action_scroll_details(self, direction: int) -> None:
        half = max(1, self._details.size.height // 2)
        self._details.scroll_relative(y=direction * half, animate=False)

    def action_turn_on(self) -> None:
        item = self._item()
        if item is not None and item.info.task == "classification":
            self.action_try()
        elif item is not None and self._listing.weight(item.info.name) is not None:
            self.action_unload()
        else:
            self.action_load()

    def action_load(self) -> None:
        item = self._item()
        if item is not None and item.info.task == "classification":
            self._warn(
                f"{item.info.name} is a classifier and does not answer in the chat; try it with "
                f"{self.session.keymap.shown_by_id('try')}, or classify a file with tui-trainer "
                f"predict {item.info.name} FILE"
            )
        elif item is not None:
            self._submit(f"/adapters load {item.info.name}")

    def action_try(self) -> None:
        item = self._item()
        if item is None:
            return
        name = item.info.name
        if item.info.task != "classification":
            self._warn(f"{name} answers in the chat; only classifiers are tried here")
            return
        self.app.push_screen(
            ClassifierDialog(name, lambda report: background_tasks.load_classifier(name, report))
        )

    def action_unload(self) -> None:
        self._submit("/adapters unload")

    def action_mark(self) -> None:
        item = self._item()
        if item is None:
            return
        name = item.info.name
        if name in self._marked:
            self._marked.remove(name)
        else:
            self._marked.append(name)
        self._fill()
        self.action_move(1)

    def action_compare(self) -> None:
        if len(self._marked) != 2:
            self._warn(f"mark two adapters with {self._mark_key} to compare them")
            return
        names = (self._marked[0], self._marked[1])
        work: ProgressDialog[ComparisonResult] = ProgressDialog(
            f"Comparing {names[0]} and {names[1]}",
            lambda report: background_tasks.compare(
                chat_of(self.app).session_thread.wait_for_context(), names, report
            ),
        )
        self.app.push_screen(work, self._compared)

    def action_ensemble(self) -> None:
        if len(self._marked) < 2:
            self._warn(f"mark at least two adapters with {self._mark_key} to combine them")
            return
        even = f"{1 / len(self._marked):.2g}"
        prompt = PromptDialog(
            "Weights of the ensemble",
            " ".join(f"{name}={even}" for name in self._marked),
            "each adapter's change is multiplied by its weight; they are activated at once",
            weights_problem,
        )
        self.app.push_screen(
            prompt, lambda text: self._submit(f"/ensemble {text}") if text else None
        )

    def action_rename(self) -> None:
        item = self._item()
        if item is None:
            return
        old = item.info.name
        prompt = PromptDialog(
            f"New name for {old}", old, "letters, digits, '-' and '_'", self._name_problem
        )

        def decide(new: str | None) -> None:
            if new is not None and new != old:
                self._renamed = new
                self._submit(f"/adapters rename {old} {new}")

        self.app.push_screen(prompt, decide)

    def action_edit(self) -> None:
        item = self._item()
        if item is not None:
            self.app.push_screen(EditDialog(item.info, self.post_message))

    @on(EditDialog.Saved)
    def _saved(self, message: EditDialog.Saved) -> None:
        dialog, problem = message.dialog, message.problem
        if dialog.is_attached:
            dialog.saved(problem)
        elif problem is not None:  # it was closed meanwhile
            self._warn(problem)
        if problem is None:
            self.session.show_notice(f"saved the description and tags of {dialog.info.name}")
        self.refresh_listing()

    def action_delete(self) -> None:
        item = self._item()
        if item is not None:
            self._submit(f"/adapters delete {item.info.name}")

    def action_trash(self) -> None:
        trash = self._listing.trash
        if not trash:
            self._warn("the trash is empty")
            return

        def decide(index: int | None) -> None:
            if index is not None:
                self._submit(f"/adapters restore {trash[index].key}")

        self.app.push_screen(
            PickDialog("Deleted adapters", adapter_rows.trash_lines(trash), "restore"), decide
        )

    def action_merge(self) -> None:
        item = self._item()
        if item is None:
            return
        name = item.info.name
        prompt = PromptDialog(
            f"Folder for {name} merged with its base model",
            str(Path.cwd() / f"{name}-merged"),
            "a new or empty folder; the merged model needs no adapter",
            lambda text: None if text.strip() else "enter a folder",
        )
        self.app.push_screen(prompt, lambda text: self._merge(name, text) if text else None)

    @on(AdapterChecks.Checked)
    def _checked(self, message: AdapterChecks.Checked) -> None:
        self._checks.add(message.result)
        self._show_details()

    @on(DataTable.RowHighlighted)
    def _moved(self) -> None:
        self._show_details()

    @on(DataTable.RowSelected)
    def _selected(self) -> None:
        self.action_turn_on()

    # -- within -------------------------------------------------------------------------------

    @property
    def _table(self) -> AdapterTable:
        return self.query_one(AdapterTable)

    @property
    def _details(self) -> VerticalScroll:
        return self.query_one("#adapter", VerticalScroll)

    def _item(self) -> AdapterEntry | None:
        chosen = self._table.chosen
        return next((i for i in self._listing.items if i.info.name == chosen), None)

    def _submit(self, line: str) -> None:
        chat_of(self.app).submit(line, remember=False)

    def _warn(self, text: str) -> None:
        self.session.show_notice(text, "warning")

    @property
    def _mark_key(self) -> str:
        return self.session.keymap.shown_by_id("mark")

    def _name_problem(self, name: str) -> str | None:
        problem = name_problem(name)
        if problem is not None:
            return problem
        taken = name != self._table.chosen and any(i.info.name == name for i in self._listing.items)
        return f"there is already an adapter {name}" if taken else None

    def _compared(self, found: ComparisonResult | None) -> None:
        if found is not None:
            self.app.push_screen(TextView(lambda width: comparison_text(found, width)))

    def _merge(self, name: str, text: str) -> None:
        out = Path(text).expanduser()
        work: ProgressDialog[Path] = ProgressDialog(
            f"Merging {name} with its base model",
            lambda report: background_tasks.merge(
                chat_of(self.app).session_thread.wait_for_context(), name, out, report
            ),
        )

        def merged(path: Path | None) -> None:
            if path is not None:
                self.session.show_notice(f"merged {name} with its base model into {path}")

        self.app.push_screen(work, merged)

    def _fill(self) -> None:
        line, every = self.query_one(FilterLine), self._listing.items
        line.show_problem(self._filter.apply(line.text, every, typing=line.is_typed))
        shown = replace(self._listing, items=self._filter.matching(every))
        self.query_one(ListStatusLine).show(
            ListStatus(
                noun="adapter",
                total=len(every),
                shown=len(shown.items),
                marked=len(self._marked),
                order="newest first",
                filter=self._filter.text,
            )
        )
        room = self.size.width - 2 - self._details_width()
        self._table.show_rows(adapter_rows.rows_of(shown, self._marked), room)
        if any(item.info.name == self._renamed for item in every):
            self._table.choose(self._renamed or "")
            self._renamed = None
        self._show_details()

    def _details_width(self) -> int:
        """The width of the details beside the table in cells, as in the stylesheet."""
        if self.has_class("-narrow") or self.has_class("-slim"):
            return 0
        return 61 if self.has_class("-large") else 47

    def _show_details(self) -> None:
        panel, item = self.query_one(AdapterPanel), self._item()
        before = panel.facts and panel.facts[0].info.name
        if before != (item and item.info.name):
            self._details.scroll_home(animate=False)
        if item is None:
            panel.show(None)
        else:
            self._checks.request(item)
            panel.show((item, self._listing, self._checks.text(item.info.name)))
        self.draw_keys()
