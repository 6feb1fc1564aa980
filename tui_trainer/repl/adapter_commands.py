"""Choosing, comparing and tidying what was learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.feedback import Turn
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.repl.tables import (
    adapter_facts,
    adapter_table,
    answers_table,
    comparison_table,
    measures_table,
    trash_table,
)
from tui_trainer.store.adapters.adapter_export import export_adapter
from tui_trainer.store.adapters.adapter_import import add_from

_ASKED = 6  # questions that two adapters are compared on


class AdapterCommands:
    """`/adapters` and `/ensemble`."""

    def __init__(self, desk: SessionContext) -> None:
        self._desk = desk

    def handlers(self) -> dict[str, Handler]:
        """The commands by name."""
        return {"adapters": self._adapters, "ensemble": self._ensemble}

    def _adapters(self, command: SlashCommand) -> None:
        parts = command.rest.split(maxsplit=2)
        what, arguments = (parts[0], parts[1:]) if parts else ("list", [])
        handlers: dict[tuple[str, int], Callable[..., None]] = {
            ("list", 0): self._list,
            ("show", 1): self._show,
            ("load", 1): self._load,
            ("unload", 0): self._unload,
            ("rename", 2): self._rename,
            ("delete", 1): self._delete,
            ("trash", 0): self._trash,
            ("restore", 1): self._restore,
            ("compare", 2): self._compare,
            ("merge", 2): self._merge,
            ("export", 2): self._export,
            ("add", 1): self._add,
            ("add", 2): self._add,
        }
        handler = handlers.get((what, len(arguments)))
        if handler is None:
            raise command.usage()
        handler(*[argument.strip() for argument in arguments])

    def _list(self) -> None:
        found = self._desk.adapters.list()
        if found:
            self._desk.emit(adapter_table(found, self._desk.adapters.live(self._desk.base)))
        else:
            self._desk.say("no adapters yet: correct an answer with /fix, then /train")

    def _show(self, name: str) -> None:
        info = self._desk.adapters.get(name)
        listed = next(item for item in self._desk.adapters.list() if item.info.name == info.name)
        self._desk.emit(adapter_facts(listed, self._desk.adapters.problem(name)))

    def _load(self, name: str) -> None:
        self._desk.put_live({name: 1.0})

    def _unload(self) -> None:
        self._desk.put_live({})

    def _ensemble(self, command: SlashCommand) -> None:
        weights: dict[str, float] = {}
        for word in command.words:
            name, equals, text = word.partition("=")
            try:
                weight = float(text)
            except ValueError:
                equals = ""
            if not (name and equals) or name in weights:
                raise command.usage()
            weights[name] = weight
        if not weights:
            raise command.usage()
        self._desk.put_live(weights)

    def _rename(self, old: str, new: str) -> None:
        live = self._desk.adapters.live(self._desk.base)
        self._desk.adapters.rename(old, new)
        self._desk.say(f"adapter {old} is called {new} now")
        if old in live:
            self._desk.put_live(self._desk.adapters.live(self._desk.base))

    def _delete(self, name: str) -> None:
        self._desk.adapters.get(name)
        live = name in self._desk.adapters.live(self._desk.base)
        what = "; it answers at the moment" if live else ""
        self._desk.ask(f"delete adapter {name}? It goes to the trash{what}", lambda: self._go(name))

    def _go(self, name: str) -> None:
        live = self._desk.adapters.live(self._desk.base)
        self._desk.adapters.delete(name)
        self._desk.say(f"adapter {name} is in the trash; /adapters restore {name} takes it back")
        if name in live:
            self._desk.put_live(self._desk.adapters.live(self._desk.base))

    def _trash(self) -> None:
        deleted = self._desk.adapters.trash()
        if deleted:
            self._desk.emit(trash_table(deleted))
        else:
            self._desk.say("the trash is empty")

    def _restore(self, name: str) -> None:
        restored = self._desk.adapters.restore(name)
        renamed = "" if restored == name else f", as {restored}"
        self._desk.say(f"adapter {name} is back{renamed}; /adapters load {restored} lets it answer")

    def _export(self, name: str, target: str) -> None:
        written = export_adapter(self._desk.adapters, name, Path(target).expanduser())
        self._desk.say(f"adapter {name} is exported to {written}")

    def _add(self, source: str, name: str | None = None) -> None:
        added = add_from(self._desk.adapters, Path(source).expanduser(), name).name
        self._desk.say(f"adapter {added} is in the list; /adapters load {added} lets it answer")

    def _merge(self, name: str, target: str) -> None:
        folder = self._folder(name)
        out = self._desk.client.merge(folder, Path(target).expanduser(), on_progress=self._report)
        self._desk.say(f"adapter {name} and its base are one model now: {out}")

    def _compare(self, a: str, b: str) -> None:
        desk = self._desk
        folders = [self._folder(name) for name in (a, b)]
        comparison = desk.client.compare(*folders)
        desk.emit(comparison_table(comparison, a, b))
        desk.emit(measures_table(desk.adapters.get(a), desk.adapters.get(b)))
        self._compare_answers((a, b), folders)

    def _compare_answers(self, names: tuple[str, str], folders: list[Path]) -> None:
        questions = recent_questions(self._desk)
        if not questions:
            self._desk.say("no questions yet to compare their answers to")
            return
        turns = [[Turn("user", question)] for question in questions]
        answers = [
            self._desk.client.answers(
                turns,
                adapter=folder,
                max_new_tokens=self._desk.settings.max_new_tokens,
                on_progress=self._go_on,
            )
            for folder in folders
        ]
        rows = [list(row) for row in zip(questions, *answers, strict=True)]
        self._desk.emit(answers_table(rows, *names))

    def _folder(self, name: str) -> Path:
        wrong = self._desk.adapters.problem(name)
        if wrong:
            raise UserError(f"adapter {name!r} cannot be used: {wrong}", 1)
        return self._desk.adapters.folder(name)

    def _report(self, stage: str) -> None:
        self._go_on()
        self._desk.say(stage)

    def _go_on(self, *_: int) -> None:
        if self._desk.cancelled.is_set():
            raise UserError("cancelled", 1)


def recent_questions(desk: SessionContext) -> list[str]:
    """The newest questions, each once: those that were corrected first, then those asked."""
    rated = [e.question for e in reversed(desk.feedback.examples()) if not e.dropped]
    asked = [turn.content for turn in reversed(desk.conversation.said()) if turn.role == "user"]
    return list(dict.fromkeys([*rated[: _ASKED // 2], *asked, *rated]))[:_ASKED]
