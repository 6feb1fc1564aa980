"""More training rows for small sets: each one's question or text written anew by a local model.

Off unless a job asks for it. Every row is asked for once, greedily, so that the same model makes
the same rows; what is empty, said already, much longer or shorter, or has other numbers in it is
thrown away and counted.
Nobody checks the meaning: `augmented.json` in the run folder holds every version for reading, and
a resumed run takes it from there. What was made is kept in the user's cache folder too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from tui_trainer.contracts.data import AugmentReport
from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.job import Augment, Job
from tui_trainer.engine.data.row_formats import Message, Row
from tui_trainer.models import base_identity, base_model
from tui_trainer.models.serving.generate import TextGenerator
from tui_trainer.store import atomic, paths

_PIVOT, _OTHER_PIVOT = "French", "English"
_ONLY = "Answer with the new text only."
ORDERS: dict[Augment, tuple[str, ...]] = {
    "none": (),
    "synonym": (f"Replace some words of this text by synonyms. {_ONLY}\n\n{{text}}",),
    "paraphrase": (f"Say this in other words, with the same meaning. {_ONLY}\n\n{{text}}",),
    "back-translation": (
        f"Translate this text into {{pivot}}. {_ONLY}\n\n{{text}}",
        f"Translate this text into {{language}}. {_ONLY}\n\n{{text}}",
    ),
}
MOST_GROWTH = 3.0  # versions longer or shorter than the text by more than this are thrown away
_KEPT_FILES = 20  # in the cache
_NUMBER = re.compile(r"\d+")


class Rewrite(msgspec.Struct, frozen=True, kw_only=True):
    """One row's new version: which row, what was rewritten, into what; `used` in training."""

    row: str
    before: str
    after: str
    used: bool


class Rewrites(msgspec.Struct, frozen=True, kw_only=True):
    """`augmented.json`: all versions of one method and model, and the seconds that they took."""

    key: str
    method: str
    model: str
    seconds: float
    versions: list[Rewrite]


class Augmenter:
    """Makes the rows that a job asks for. `ask` writes the answers of one order's prompts with the
    model; None where the user ended it, which `ended` then raises."""

    def __init__(
        self,
        job: Job,
        file: Path,
        ask: Callable[[str, list[str]], list[str] | None],
        ended: Callable[[], None],
    ) -> None:
        self._settings = job.data
        self._model = job.data.augment_model or job.model
        self._file = file
        self._ask = ask
        self._ended = ended

    def __call__(
        self, train: Sequence[Row], held: Sequence[Row]
    ) -> tuple[list[Row], AugmentReport]:
        """The new rows for training, none of which says what another row, training or held out,
        says already."""
        texts = [_source(row) for row in train]
        key = self._key(texts)
        place = paths.cache_dir() / "versions" / f"{key}.json"
        found = _read(self._file, key)
        if found is None and self._settings.cache:
            found = _read(place, key)
        cached = found is not None
        if found is None:
            found = self._make(texts, [row.where for row in train], key)
            self._keep(place, found)
        found = _judged(found, train, held)
        atomic.write_json(self._file, found)
        added = [
            _version(row, version.after)
            for row, version in zip(train, found.versions, strict=True)
            if version.used
        ]
        report = AugmentReport(
            method=found.method,
            model=found.model,
            asked=len(train),
            added=len(added),
            seconds=round(found.seconds, 1),
            cached=cached,
        )
        return added, report

    def _keep(self, place: Path, found: Rewrites) -> None:
        if self._settings.cache:
            with contextlib.suppress(OSError):  # they are in the run folder all the same
                paths.make_private_dir(place.parent)
                atomic.write_json(place, found)
                _prune(place.parent)

    def _make(self, texts: list[str], places: list[str], key: str) -> Rewrites:
        began = time.monotonic()
        language = self._settings.augment_language
        pivot = _PIVOT if language != _PIVOT else _OTHER_PIVOT
        after = texts
        for order in ORDERS[self._settings.augment]:
            prompts = [order.format(text=text, pivot=pivot, language=language) for text in after]
            made = self._ask(self._model, prompts)
            if made is None:
                self._ended()
                raise UserError("the rows could not be written: ended")
            after = [text.strip() for text in made]
        return Rewrites(
            key=key,
            method=self._settings.augment,
            model=self._model,
            seconds=time.monotonic() - began,
            versions=[
                Rewrite(row=where, before=old, after=new, used=False)
                for where, old, new in zip(places, texts, after, strict=True)
            ],
        )

    def _key(self, texts: list[str]) -> str:
        settings = self._settings
        own = base_identity.origin_of(self._model)
        orders = ORDERS[settings.augment]
        content = (orders, settings.augment_language, own.model, own.hash, texts)
        return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def writer_of(
    device: torch.device,
    dtype: torch.dtype,
    trust_remote_code: bool,
    between: Callable[[int, int], bool],
) -> Callable[[str, list[str]], list[str] | None]:
    """Asks a model that is loaded for it and given back. `between` hears how many of how many
    prompts are answered, and ends the work by giving True."""

    def ask(model: str, prompts: list[str]) -> list[str] | None:
        loaded = base_model.load_base(model, device, dtype, trust_remote_code=trust_remote_code)
        tokenizer = base_model.load_tokenizer(model, trust_remote_code=trust_remote_code)
        try:
            return _write(TextGenerator(loaded, tokenizer), prompts, between)
        finally:
            del loaded
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()

    return ask


def _write(
    writer: TextGenerator, prompts: list[str], between: Callable[[int, int], bool]
) -> list[str] | None:
    asked: list[Any] = []
    answers = [""] * len(prompts)
    fitting = []
    for index, prompt in enumerate(prompts):
        room = 16 + 2 * len(writer.tokenizer(prompt, add_special_tokens=False).input_ids)
        with contextlib.suppress(UserError):  # too long for the model: thrown away as empty
            asked.append(writer.fit([Message("user", prompt)], room))
            fitting.append(index)
    made = writer.write_many(asked, lambda done: between(done, len(asked)))
    if made is None:
        return None
    for index, text in zip(fitting, made, strict=True):
        answers[index] = text
    return answers


def _judged(found: Rewrites, train: Sequence[Row], held: Sequence[Row]) -> Rewrites:
    """Says of every version whether it is used."""
    said = {_plain(row.content()) for row in (*train, *held)}
    versions = []
    for row, version in zip(train, found.versions, strict=True):
        text = _plain(_version(row, version.after).content())
        used = _is_likely(version.before, version.after) and text not in said
        if used:
            said.add(text)
        versions.append(msgspec.structs.replace(version, used=used))
    return msgspec.structs.replace(found, versions=versions)


def _is_likely(before: str, after: str) -> bool:
    """Whether a version may mean the same, as far as that can be told without reading it."""
    ratio = (1 + len(after)) / (1 + len(before))
    same_numbers = sorted(_NUMBER.findall(before)) == sorted(_NUMBER.findall(after))
    return bool(after.strip()) and same_numbers and 1 / MOST_GROWTH <= ratio <= MOST_GROWTH


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _asked_at(row: Row) -> int:
    """The turn that is rewritten: the last of the user's."""
    turns = [index for index, turn in enumerate(row.messages) if turn.role == "user"]
    return turns[-1] if turns else -1


def _source(row: Row) -> str:
    """What is rewritten of a row: its text, or the last question; answers stay as they are."""
    if row.text is not None:
        return row.text
    at = _asked_at(row)
    return row.messages[at].content if at >= 0 else ""


def _version(row: Row, text: str) -> Row:
    where = f"{row.where}, rewritten"
    at = _asked_at(row)
    if row.text is not None or at < 0:
        return dataclasses.replace(row, text=text, where=where)
    turns = list(row.messages)
    turns[at] = dataclasses.replace(turns[at], content=text)
    return dataclasses.replace(row, messages=tuple(turns), where=where)


def _read(file: Path, key: str) -> Rewrites | None:
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Rewrites)
    except (OSError, *BAD_CONTENT):
        return None
    return found if found.key == key else None


def _prune(folder: Path) -> None:
    """Keeps the newest files only."""
    with contextlib.suppress(OSError):
        files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for file in files[:-_KEPT_FILES]:
            file.unlink(missing_ok=True)
