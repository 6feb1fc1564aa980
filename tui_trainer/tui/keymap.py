"""The table of every key of the full-screen session.

Footer, help, command palette and Textual's bindings are all made from this table, so that they
agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual.binding import Binding, BindingType

from tui_trainer.store.settings import about
from tui_trainer.text.similar import nearest


@dataclass(frozen=True)
class Key:
    """One binding."""

    id: str  # as in the settings
    keys: str  # as Textual writes them, separated by commas
    action: str  # of Textual
    label: str  # in the bottom line and the command palette
    help: str  # in the help and the command palette
    scope: str  # where it works: `app` (everywhere), `run` (dashboard and list), or one screen
    rank: int = 0  # in the bottom line; where it is narrow, small ranks are kept; 0: never shown
    priority: bool = False  # whether it works while text is typed


# Keys that act only on a live run whose process executes commands.
COMMAND_KEYS = frozenset({"pause", "checkpoint", "stop", "rate", "skip_evaluation"})
# Keys that `monitor` does not offer.
SESSION_KEYS = frozenset(
    {
        "new_run",
        "show_new",
        "again",
        "resume_run",
        "show_chat",
        "show_adapters",
        "adopt",
        "train_example",
    }
)
# The tabs: id of the key, title, and screen. `monitor` offers the first two.
TABS = (
    ("show_dashboard", "Dashboard", "dashboard"),
    ("show_runs", "Runs", "runs"),
    ("show_chat", "Chat", "chat"),
    ("show_adapters", "Adapters", "adapters"),
    ("show_new", "New run", "new"),
)
# The scopes in which a key press is looked up on each screen; keys differ within each set.
REACH = {
    "dashboard": ("app", "run", "dashboard"),
    "runs": ("app", "run", "runs"),
    "chat": ("app", "chat"),
    "adapters": ("app", "adapters"),
    "new": ("app", "new"),
}

KEYS: tuple[Key, ...] = (
    Key("pause", "p", "app.control_run('pause')", "pause", "pause or resume the run", "run", 3),
    Key("checkpoint", "c", "app.control_run('checkpoint')", "checkpoint", "write a checkpoint now",
        "run", 5),
    Key("stop", "s", "app.control_run('stop')", "stop", "save the run and stop it (asks first)",
        "run", 4),
    Key("rate", "l", "app.control_run('set_rate')", "rate", "set the learning rate of the run",
        "run", 6),
    Key("skip_evaluation", "e", "app.control_run('skip_evaluation')", "skip evaluation", "cancel "
        "the evaluation that is running; training continues", "run"),
    Key("resume_run", "R", "app.control_run('resume_run')", "resume", "resume a run that ended "
        "early", "run", 16),
    Key("apply", "a", "screen.apply_advice", "apply", "apply the learning rate that the current "
        "advice suggests; in a run that has ended, roll back with it", "dashboard", 6),
    Key("dismiss", "A", "screen.dismiss_advice", "dismiss", "dismiss the current advice and mute "
        "its kind in this run", "dashboard", 18),
    Key("adopt", "K", "app.control_run('add_adapter')", "to adapters", "add the adapter of a "
        "finished run to the adapters", "run", 17),
    Key("again", "N", "app.control_run('again')", "again", "fill in the form for a new run with "
        "the settings of this one", "run", 16),
    Key("train_example", "t", "app.control_run('train_example')", "example", "train the built-in "
        "model on a small example, in a folder without runs", "run"),
    Key("watch_folder", "W", "app.control_run('watch_folder')", "watch a folder", "watch the runs "
        "of another folder", "run"),
    Key("details", "d", "app.control_run('details')", "details", "configuration, events, "
        "checkpoints, hardware and log of the run", "run", 11),
    Key("machine", "h", "app.control_run('hardware')", "hardware", "hardware: what limits the "
        "speed of the run, GPUs, CPUs, memory, and their history", "run", 13),
    Key("chart", "g", "screen.next_chart", "chart", "show the next chart below, or in place "
        "of the current one", "dashboard", 8),
    Key("next_page", "right_square_bracket,pagedown", "screen.page(1)", "next charts",
        "the next page of charts", "dashboard"),
    Key("previous_page", "left_square_bracket,pageup", "screen.page(-1)", "earlier charts",
        "the previous page of charts", "dashboard"),
    Key("grid", "G", "screen.grid", "grid", "all charts at equal size in a grid, or the main "
        "chart large again", "dashboard", 18),
    Key("find_chart", "slash", "screen.find", "find", "find a chart by the name of its metric and "
        "pin it first", "dashboard", 19),
    Key("smooth", "m", "screen.smoothing", "smooth", "smoothing: auto (by the number of points), "
        "off, 0.6, 0.9, 0.97",
        "dashboard", 7),
    Key("smoother", "greater_than_sign", "screen.smoother(1)", "smoother", "slightly more "
        "smoothing, up to 0.999", "dashboard"),
    Key("rougher", "less_than_sign", "screen.smoother(-1)", "rougher", "slightly less smoothing",
        "dashboard"),
    Key("raw", "b", "screen.raw", "raw values", "show or hide the raw values behind the smoothed "
        "lines", "dashboard"),
    Key("log_y", "y", "screen.log_y", "log", "logarithmic or linear y axis", "dashboard", 9),
    Key("log_x", "X", "screen.log_x", "log x", "logarithmic or linear x axis", "dashboard"),
    Key("x_axis", "x", "screen.x_axis", "x axis", "x axis: steps, epochs, tokens, time since "
        "the start, or time of day", "dashboard", 10),
    Key("cursor", "v", "screen.cursor", "values", "a cursor that shows the exact values of every "
        "run at a step; esc removes it", "dashboard", 10),
    Key("export", "E", "screen.export", "export", "write the visible charts as SVG and text, "
        "and their data as CSV", "dashboard", 20),
    Key("only", "o", "screen.only", "only", "show only this run, or the overlaid runs again",
        "dashboard"),
    Key("zoom_in", "plus,equals_sign", "screen.zoom(1)", "zoom in",
        "zoom in; the live end, or the cursor, stays in view", "dashboard"),
    Key("zoom_out", "minus", "screen.zoom(-1)", "zoom out", "zoom out", "dashboard"),
    Key("zoom_all", "0", "screen.zoom(0)", "all", "show the whole run again", "dashboard"),
    Key("pan_left", "left", "screen.pan(-1)", "earlier", "move the cursor or a zoomed chart to "
        "earlier steps", "dashboard"),
    Key("pan_right", "right", "screen.pan(1)", "later", "move the cursor or a zoomed chart to "
        "later steps", "dashboard"),
    Key("leap_left", "shift+left", "screen.leap(-1)", "far earlier", "move ten columns to "
        "earlier steps", "dashboard"),
    Key("leap_right", "shift+right", "screen.leap(1)", "far later", "move ten columns to "
        "later steps", "dashboard"),
    Key("to_start", "home", "screen.edge(0)", "first", "move the cursor or a zoomed chart to "
        "the first step", "dashboard"),
    Key("to_end", "end", "screen.edge(1)", "last", "move the cursor or a zoomed chart to the "
        "last step", "dashboard"),
    Key("maximise", "enter", "screen.maximise", "maximise", "maximise or restore a pane",
        "dashboard", 12),
    Key("next_pane", "j,down", "screen.move(1)", "next", "next pane", "dashboard"),
    Key("previous_pane", "k,up", "screen.move(-1)", "previous", "previous pane", "dashboard"),
    Key("open", "enter", "screen.open", "open", "show the run on the dashboard", "runs", 7),
    Key("next_run", "j,down", "screen.move(1)", "next", "next run", "runs"),
    Key("previous_run", "k,up", "screen.move(-1)", "previous", "previous run", "runs"),
    Key("filter", "slash", "screen.filter", "filter", "filter runs by words and conditions, such "
        "as loss<2 status:running -smoke", "runs", 8),
    Key("mark_run", "space", "screen.mark_run", "mark", "mark the run: marked runs are overlaid "
        "on the dashboard", "runs", 8),
    Key("unmark", "u", "screen.unmark", "unmark", "remove every mark", "runs"),
    Key("compare_runs", "v", "screen.compare", "compare", "compare the marked runs: their settings "
        "and results", "runs", 9),
    Key("sort", "o", "screen.sort", "sort", "sort by the next column", "runs", 10),
    Key("turn", "O", "screen.turn", "reverse", "reverse the order", "runs"),
    Key("good", "ctrl+g", "screen.submit('/good')", "good", "the last answer is right: learn it",
        "chat", 4, True),
    Key("correct", "ctrl+e", "screen.submit('/edit')", "correct", "write the right answer to the "
        "last question", "chat", 3, True),
    Key("rate_answer", "ctrl+r", "screen.rate", "rate", "rate the last answer, with a note, or "
        "let the model answer again", "chat", 5, True),
    Key("agree", "ctrl+y", "screen.confirm", "yes", "answer yes to the question above the input "
        "line, such as accepting a revised answer", "chat", 8, True),
    Key("train_now", "ctrl+t", "screen.submit('/train')", "train", "start a training with the "
        "pending feedback", "chat", 7, True),
    Key("new_conversation", "ctrl+n", "screen.submit('/new')", "new", "start a new conversation",
        "chat", 10, True),
    Key("watch_training", "ctrl+o", "screen.watch", "watch", "show the training on the dashboard",
        "chat", 9, True),
    Key("older", "up", "screen.history(-1)", "earlier", "the previous line of the input history",
        "chat"),
    Key("newer", "down", "screen.history(1)", "later", "the next line of the input history",
        "chat"),
    Key("complete", "tab", "screen.complete", "complete", "complete a slash command", "chat"),
    Key("page_up", "pageup", "screen.page(-1)", "back", "scroll the conversation up a page",
        "chat"),
    Key("page_down", "pagedown", "screen.page(1)", "forward", "scroll the conversation down a "
        "page", "chat"),
    Key("scroll_up", "k", "screen.scroll_log(-1)", "up", "scroll up a line, after esc", "chat"),
    Key("scroll_down", "j", "screen.scroll_log(1)", "down", "scroll down a line, after esc",
        "chat"),
    Key("type", "i,enter", "screen.type", "type", "back to the input line, after esc", "chat", 3),
    Key("command", "slash", "screen.type('/')", "command", "type a slash command, after esc",
        "chat"),
    Key("turn_on", "enter", "screen.turn_on", "load/unload", "activate or deactivate the "
        "adapter; try a classifier", "adapters", 3),
    Key("load", "l", "screen.load", "load", "activate this adapter alone", "adapters", 16),
    Key("unload", "u", "screen.unload", "unload", "deactivate all adapters", "adapters", 17),
    Key("mark", "space", "screen.mark", "mark", "mark the adapter to compare or combine it",
        "adapters", 4),
    Key("compare", "c", "screen.compare", "compare", "compare two marked adapters: their weights, "
        "measures and answers", "adapters", 8),
    Key("ensemble", "e", "screen.ensemble", "ensemble", "activate the marked adapters together, "
        "weighted", "adapters", 9),
    Key("filter_adapters", "slash", "screen.filter", "filter", "filter adapters by words and "
        "conditions, such as tag:support val_accuracy>=0.9 -draft", "adapters", 6),
    Key("edit_adapter", "E", "screen.edit", "edit", "edit the description and the tags of the "
        "adapter", "adapters", 7),
    Key("scroll_details", "J,shift+down", "screen.scroll_details(1)", "scroll", "scroll the "
        "details of the adapter down", "adapters", 5),
    Key("scroll_details_up", "K,shift+up", "screen.scroll_details(-1)", "scroll up", "scroll the "
        "details of the adapter up", "adapters"),
    Key("try", "t", "screen.try", "try", "type a text and see the classes of the classifier",
        "adapters", 6),
    Key("merge", "M", "screen.merge", "merge", "merge the adapter and its base into one model",
        "adapters", 11),
    Key("rename", "R", "screen.rename", "rename", "rename the adapter", "adapters", 10),
    Key("delete", "D", "screen.delete", "delete", "move the adapter to the trash (asks first)",
        "adapters", 12),
    Key("trash", "T", "screen.trash", "trash", "restore a deleted adapter", "adapters", 12),
    Key("next_adapter", "j,down", "screen.move(1)", "next", "next adapter", "adapters"),
    Key("previous_adapter", "k,up", "screen.move(-1)", "previous", "previous adapter", "adapters"),
    Key("start", "ctrl+s", "screen.start", "start", "start this run", "new", 3, True),
    Key("more", "ctrl+o", "screen.more", "more", "show or hide more settings (optimizer, "
        "precision, early stopping ...)", "new", 4, True),
    Key("look", "ctrl+l", "screen.look", "data", "look at the data before the run: what is left "
        "out, how long the rows are, and what is learned in them", "new", 5, True),
    Key("next_choice", "right,space", "screen.turn(1)", "next choice", "the next choice of a field "
        "with a fixed set of choices; enter lists them", "new"),
    Key("previous_choice", "left", "screen.turn(-1)", "previous choice", "the previous choice",
        "new"),
    Key("next_field", "down", "app.focus_next", "next field", "next field", "new"),
    Key("previous_field", "up", "app.focus_previous", "previous field", "previous field", "new"),
    Key("new_run", "n", "app.show('new')", "new run", "fill in the form for a new run", "app", 13),
    Key("show_dashboard", "1,f1", "app.show('dashboard')", "dashboard", "the dashboard", "app"),
    Key("show_runs", "2,f2", "app.show('runs')", "runs", "the list of runs", "app"),
    Key("show_chat", "3,f3", "app.show('chat')", "chat", "the chat with its trainings", "app"),
    Key("show_adapters", "4,f4", "app.show('adapters')", "adapters", "the learned adapters", "app"),
    Key("show_new", "5,f5", "app.show('new')", "new run", "the form for a new run", "app"),
    Key("refresh", "r", "app.refresh_now", "refresh", "read the folder again now", "app", 14),
    Key("back", "escape", "app.step_back", "back", "restore a pane, clear a filter, or go to the "
        "dashboard", "app", 16),
    Key("help", "question_mark", "app.help", "help", "list every key", "app", 1),
    Key("palette", "ctrl+p", "app.command_palette", "commands", "commands and themes by name",
        "app", 15, True),
    Key("suspend", "ctrl+z", "app.suspend_process", "suspend", "suspend to the shell; fg "
        "resumes", "app", 0, True),
    Key("quit", "q", "app.quit", "quit", "quit; a run can keep training without the screen", "app",
        2),
)  # fmt: skip
_BY_ID = {key.id: key for key in KEYS}

_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "escape": "esc",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "shift+left": "shift+←",
    "shift+right": "shift+→",
    "left": "←",
    "right": "→",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "up": "↑",
    "down": "↓",
    "shift+up": "shift+↑",
    "shift+down": "shift+↓",
}


@dataclass(frozen=True)
class Keymap:
    """The keys as configured: overrides by binding id, and the problems found in them."""

    overrides: Mapping[str, str]
    problems: tuple[str, ...] = ()

    def keys_of(self, key: Key) -> list[str]:
        """The keys of a binding, as Textual writes them."""
        return self.overrides.get(key.id, key.keys).split(",")

    def types_text(self, key: Key) -> bool:
        """Whether the first key of a binding types a character into an input field."""
        return types_text(self.keys_of(key)[0])

    def shown(self, key: Key) -> str:
        """The first key of a binding, as the footer shows it."""
        return display(self.keys_of(key)[0])

    def shown_by_id(self, id: str) -> str:
        """As `shown`, for the binding with this id."""
        return self.shown(_BY_ID[id])

    def shown_while_typing(self, id: str) -> str:
        """As `shown_by_id`, but a key of the binding that also works in an input field, if any."""
        keys = self.keys_of(_BY_ID[id])
        return display(next((one for one in keys if not types_text(one)), keys[0]))

    def tabs(self, monitor_only: bool) -> tuple[tuple[str, str, str], ...]:
        """Key, title and screen of each tab."""
        return tuple(
            (self.shown_by_id(id), title, screen)
            for id, title, screen in TABS
            if not (monitor_only and id in SESSION_KEYS)
        )

    def all_shown(self, key: Key) -> str:
        """Every key of a binding, for the help."""
        return " ".join(map(display, self.keys_of(key)))


def bindings(*scopes: str) -> list[BindingType]:
    """Textual's bindings for an app or a screen."""
    return _bindings([key for key in KEYS if key.scope in scopes])


def bindings_of(*ids: str) -> list[BindingType]:
    """Textual's bindings for the keys with these ids, so that a dialog follows the settings."""
    return _bindings([key for key in KEYS if key.id in ids])


def _bindings(keys: Sequence[Key]) -> list[BindingType]:
    return [
        Binding(
            key.keys,
            key.action,
            key.label,
            tooltip=key.help,
            id=key.id,
            show=key.rank > 0,
            priority=key.priority,
        )
        for key in keys
    ]


def keys_of(screen: str) -> list[Key]:
    """The keys that work on a screen, in the order of the table."""
    return [key for key in KEYS if key.scope in REACH.get(screen, ("app",))]


def make_keymap(wanted: Mapping[str, str]) -> Keymap:
    """The keymap from the settings; overrides that cannot be applied are listed as problems."""
    overrides: dict[str, str] = {}
    problems: list[str] = []
    for name, keys in wanted.items():
        chosen = [normal(part) for part in keys.split(",") if part.strip()]
        if name not in _BY_ID:
            guess = nearest(name, list(_BY_ID))
            hint = f"; did you mean {guess}?" if guess else ""
            problems.append(f"{about(f'keys.{name}')}: there is no binding of this name{hint}")
        elif not chosen:
            problems.append(f"{about(f'keys.{name}')}: give a key, such as space or f5")
        else:
            overrides[name] = ",".join(chosen)
    while (clash := _clash(overrides)) is not None:
        name, other = clash
        problems.append(
            f"{about(f'keys.{name}')}: {wanted[name]!r} is already the key of {other.id}; "
            "the setting is ignored"
        )
        del overrides[name]
    return Keymap(overrides, tuple(problems))


def types_text(key: str) -> bool:
    """Whether a key, as Textual writes it, types a character into an input field."""
    return len(key) == 1 or (key in _NAMES and len(_NAMES[key]) == 1 and _NAMES[key].isascii())


def display(key: str) -> str:
    """A key as it is shown to users."""
    return _NAMES.get(key, key)


def normal(key: str) -> str:
    """A key as Textual writes it: `?` is `question_mark`."""
    stripped = key.strip()
    return next((long for long, short in _NAMES.items() if short == stripped), stripped)


def _clash(overrides: Mapping[str, str]) -> tuple[str, Key] | None:
    """An override whose key another binding has on the same screen, the last one first."""
    for name in reversed(list(overrides)):
        key = _BY_ID[name]
        chosen = set(overrides[name].split(","))
        for other in KEYS:
            held = set(overrides.get(other.id, other.keys).split(","))
            if other.id != name and held & chosen and _meet(key, other):
                return name, other
    return None


def _meet(one: Key, other: Key) -> bool:
    return any(one.scope in scopes and other.scope in scopes for scopes in REACH.values())
