"""Slash commands that list, activate, compare, export and delete adapters."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.launch.predict import merge_classifier
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
from tui_trainer.text import formats

_COMPARED_QUESTIONS = 6  # asked at most when two adapters are compared


class AdapterCommands:
    """`/adapters` and `/ensemble`."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context

    def handlers(self) -> dict[str, Handler]:
        """The handlers by command name."""
        return {"adapters": self._adapters, "ensemble": self._ensemble}

    def _adapters(self, command: SlashCommand) -> None:
        quoted = any(mark in command.argument_text for mark in "'\"")
        parts = command.words() if quoted else command.argument_text.split(maxsplit=2)
        name, arguments = (parts[0], parts[1:]) if parts else ("list", [])
        if name == "list":
            self._list(" ".join(arguments))
            return
        if name == "edit":
            self._edit(command)
            return
        handlers: dict[tuple[str, int], Callable[..., None]] = {
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
        handler = handlers.get((name, len(arguments)))
        if handler is None:
            raise command.usage()
        handler(*[argument.strip() for argument in arguments])

    def _list(self, conditions: str) -> None:
        from tui_trainer.watch.query import adapter_fields  # loads numpy

        every = self._context.adapters.list()
        found, problem = adapter_fields.chosen(every, conditions, time.time())
        if problem is not None:
            raise UserError(problem)
        if every and not found:
            count = formats.plural(len(every), "adapter")
            self._context.emit_notice(f"no match among {count}; change the conditions")
        elif found:
            self._context.emit(
                adapter_table(found, self._context.adapters.live(self._context.base))
            )
        else:
            self._context.emit_notice("no adapters yet: correct an answer with /fix, then /train")

    def _show(self, name: str) -> None:
        adapters = self._context.adapters
        entry = adapters.entry(name)
        weight = adapters.live(entry.info.base_model).get(name)
        self._context.emit(adapter_facts(entry, weight, adapters.problem(name)))

    def _edit(self, command: SlashCommand) -> None:
        """Change the description and the tags, with the options of `tui-trainer adapters edit`."""
        words = command.words()[1:]
        changes: dict[str, list[str]] = {"--description": [], "--tag": [], "--untag": []}
        options = list(zip(words[1::2], words[2::2], strict=False))
        if len(words) < 3 or len(words) % 2 == 0 or any(key not in changes for key, _ in options):
            raise command.usage()
        for key, value in options:
            changes[key].append(value)
        described = changes["--description"]
        info = self._context.adapters.edit(
            words[0],
            description=described[-1] if described else None,
            tag=changes["--tag"],
            untag=changes["--untag"],
        )
        self._context.emit_notice(
            f"adapter {info.name}: description {info.description or formats.MISSING}; "
            f"tags {', '.join(info.tags) or formats.MISSING}"
        )

    def _load(self, name: str) -> None:
        self._context.activate({name: 1.0})

    def _unload(self) -> None:
        self._context.activate({})

    def _ensemble(self, command: SlashCommand) -> None:
        weights: dict[str, float] = {}
        for word in command.arguments:
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
        self._context.activate(weights)

    def _rename(self, old: str, new: str) -> None:
        live = self._context.adapters.live(self._context.base)
        self._context.adapters.rename(old, new)
        self._context.emit_notice(f"adapter {old} is renamed to {new}")
        if old in live:
            self._context.activate(self._context.adapters.live(self._context.base))

    def _delete(self, name: str) -> None:
        self._context.adapters.get(name)
        live = name in self._context.adapters.live(self._context.base)
        warning = "; it is active now" if live else ""
        self._context.confirm(
            f"delete adapter {name}? It is moved to the trash{warning}",
            lambda: self._delete_confirmed(name),
        )

    def _delete_confirmed(self, name: str) -> None:
        live = self._context.adapters.live(self._context.base)
        self._context.adapters.delete(name)
        self._context.emit_notice(
            f"adapter {name} is moved to the trash; restore it with /adapters restore {name}"
        )
        if name in live:
            self._context.activate(self._context.adapters.live(self._context.base))

    def _trash(self) -> None:
        deleted = self._context.adapters.trash()
        if deleted:
            self._context.emit(trash_table(deleted))
        else:
            self._context.emit_notice("the trash is empty")

    def _restore(self, name: str) -> None:
        restored = self._context.adapters.restore(name)
        renamed = "" if restored == name else f", as {restored}"
        self._context.emit_notice(
            f"adapter {name} is restored{renamed}; {self._next_step(restored)}"
        )

    def _export(self, name: str, target: str) -> None:
        written = export_adapter(self._context.adapters, name, Path(target).expanduser())
        self._context.emit_notice(f"adapter {name} is exported to {written}")

    def _add(self, source: str, name: str | None = None) -> None:
        added = add_from(self._context.adapters, Path(source).expanduser(), name).name
        self._context.emit_notice(f"adapter {added} is added; {self._next_step(added)}")

    def _next_step(self, name: str) -> str:
        """What to do with an adapter, part of a sentence."""
        if self._context.adapters.get(name).task == "classification":
            return f"it is a classifier: classify texts with tui-trainer predict {name} FILE"
        return f"activate it with /adapters load {name}"

    def _merge(self, name: str, target: str) -> None:
        out = merge(self._context, name, Path(target).expanduser(), self._report)
        self._context.emit_notice(f"adapter {name} is merged with its base into {out}")

    def _compare(self, a: str, b: str) -> None:
        context = self._context
        for name in (a, b):
            context.adapters.check_answers(name)
        folders = [context.adapters.usable_folder(name) for name in (a, b)]
        comparison = context.client.compare(*folders)
        context.emit(comparison_table(comparison, a, b))
        context.emit(measures_table(context.adapters.get(a), context.adapters.get(b)))
        self._compare_answers((a, b), folders)

    def _compare_answers(self, names: tuple[str, str], folders: list[Path]) -> None:
        questions = recent_questions(self._context)
        if not questions:
            self._context.emit_notice("their answers are not compared: no question was asked yet")
            return
        turns = [[Turn("user", question)] for question in questions]
        answers = [
            self._context.client.answers(
                turns,
                adapter=folder,
                max_new_tokens=self._context.settings.max_new_tokens,
                on_progress=self._raise_if_cancelled,
            )
            for folder in folders
        ]
        rows = [list(row) for row in zip(questions, *answers, strict=True)]
        self._context.emit(answers_table(rows, *names))

    def _report(self, stage: str) -> None:
        self._raise_if_cancelled()
        self._context.emit_notice(stage)

    def _raise_if_cancelled(self, *_: int) -> None:
        if self._context.cancelled.is_set():
            raise UserError("cancelled", 1)


def merge(
    context: SessionContext, name: str, out: Path, on_progress: Callable[[str], None]
) -> Path:
    """Write an adapter and its base as one model into `out`; return its folder. An exception from
    `on_progress` stops it. Raises `UserError`."""
    folder, info = context.adapters.usable_folder(name), context.adapters.get(name)
    if info.task == "classification":
        return merge_classifier(folder, info.base_model, out, on_progress)
    return context.client.merge(folder, out, on_progress=on_progress)


def recent_questions(context: SessionContext) -> list[str]:
    """The newest questions, without duplicates: corrected ones first, then asked ones."""
    rated = [e.question for e in reversed(context.feedback.examples()) if not e.dropped]
    asked = [
        turn.content for turn in reversed(context.conversation.recorded()) if turn.role == "user"
    ]
    return list(dict.fromkeys([*rated[: _COMPARED_QUESTIONS // 2], *asked, *rated]))[
        :_COMPARED_QUESTIONS
    ]
