"""Additional training rows: each row's last question, or its text, rewritten by a local model.

Off unless a job asks for it. The model rewrites every row once, by greedy decoding, so that the
same model gives the same rows. Versions that are empty, duplicates, much longer or shorter, or
have other numbers are rejected and counted. The meaning is not checked: `augmented.json` in the
run folder contains every version for review, and a resumed run reads it from there. Versions are
also stored in the user's cache folder.
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

from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.job import Augment, Job
from tui_trainer.contracts.runs.data_report import AugmentReport
from tui_trainer.engine.data.rows import Message, Row
from tui_trainer.models import base_identity, base_model
from tui_trainer.models.serving.generate import TextGenerator
from tui_trainer.store import atomic, paths

_PIVOT, _OTHER_PIVOT = "French", "English"
_ONLY_TEXT = "Answer with the new text only."
PROMPTS: dict[Augment, tuple[str, ...]] = {
    "none": (),
    "synonym": (f"Replace some words of this text by synonyms. {_ONLY_TEXT}\n\n{{text}}",),
    "paraphrase": (f"Say this in other words, with the same meaning. {_ONLY_TEXT}\n\n{{text}}",),
    "back-translation": (
        f"Translate this text into {{pivot}}. {_ONLY_TEXT}\n\n{{text}}",
        f"Translate this text into {{language}}. {_ONLY_TEXT}\n\n{{text}}",
    ),
}
MOST_GROWTH = 3.0  # versions longer or shorter than the text by a larger factor are rejected
_KEPT_FILES = 20  # in the cache folder

# Rewrites the prompts with the named model; None where the user stopped it.
RewriteFunction = Callable[[str, list[str]], list[str] | None]
_NUMBER = re.compile(r"\d+")


class Rewrite(msgspec.Struct, frozen=True, kw_only=True):
    """One row's new version."""

    row: str  # file and line of the row
    before: str  # the text that was rewritten
    after: str  # its new version
    used: bool  # in training


class Rewrites(msgspec.Struct, frozen=True, kw_only=True):
    """`augmented.json`: all versions from one method and model."""

    key: str  # SHA-256 of everything that determines the versions
    method: str  # `data.augment` of the job
    model: str  # that rewrote the rows
    seconds: float  # of rewriting
    versions: list[Rewrite]  # one for each training row


class Augmenter:
    """Makes the additional rows of a job. `rewrite` answers the prompts with the model; where it
    was stopped, `raise_stopped` raises the reason."""

    def __init__(
        self,
        job: Job,
        file: Path,
        rewrite: RewriteFunction,
        raise_stopped: Callable[[], None],
    ) -> None:
        self._settings = job.data
        self._model = job.data.augment_model or job.model
        self._file = file
        self._rewrite = rewrite
        self._raise_stopped = raise_stopped

    def __call__(
        self, train: Sequence[Row], held_out: Sequence[Row]
    ) -> tuple[list[Row], AugmentReport]:
        """Return the new training rows, none of which equals another training row or a held-out
        row, and their counts. Raises `UserError` for a model that cannot be loaded."""
        texts = [_source_text(row) for row in train]
        key = self._key(texts)
        cache_file = paths.cache_dir() / "versions" / f"{key}.json"
        rewrites = _read(self._file, key)
        if rewrites is None and self._settings.cache:
            rewrites = _read(cache_file, key)
        cached = rewrites is not None
        if rewrites is None:
            rewrites = self._make(texts, [row.where for row in train], key)
            self._write_to_cache(cache_file, rewrites)
        rewrites = _mark_used(rewrites, train, held_out)
        atomic.write_json(self._file, rewrites)
        added = [
            _rewritten_row(row, version.after)
            for row, version in zip(train, rewrites.versions, strict=True)
            if version.used
        ]
        report = AugmentReport(
            method=rewrites.method,
            model=rewrites.model,
            asked=len(train),
            added=len(added),
            seconds=round(rewrites.seconds, 1),
            cached=cached,
        )
        return added, report

    def _write_to_cache(self, file: Path, rewrites: Rewrites) -> None:
        if self._settings.cache:
            with contextlib.suppress(OSError):  # the run folder has them too
                paths.make_private_dir(file.parent)
                atomic.write_json(file, rewrites)
                _prune(file.parent)

    def _make(self, texts: list[str], rows: list[str], key: str) -> Rewrites:
        """Rewrite the texts of `rows` (file and line of each) with the model."""
        started = time.monotonic()
        language = self._settings.augment_language
        pivot = _PIVOT if language != _PIVOT else _OTHER_PIVOT
        after = texts
        for template in PROMPTS[self._settings.augment]:
            prompts = [template.format(text=text, pivot=pivot, language=language) for text in after]
            answers = self._rewrite(self._model, prompts)
            if answers is None:
                self._raise_stopped()
                raise UserError("rewriting the training rows was stopped; start the run again")
            after = [text.strip() for text in answers]
        return Rewrites(
            key=key,
            method=self._settings.augment,
            model=self._model,
            seconds=time.monotonic() - started,
            versions=[
                Rewrite(row=row, before=old, after=new, used=False)
                for row, old, new in zip(rows, texts, after, strict=True)
            ],
        )

    def _key(self, texts: list[str]) -> str:
        settings = self._settings
        base = base_identity.origin_of(self._model)
        templates = PROMPTS[settings.augment]
        content = (templates, settings.augment_language, base.model, base.hash, texts)
        return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def make_rewriter(
    device: torch.device,
    dtype: torch.dtype,
    trust_remote_code: bool,
    on_progress: Callable[[int, int], bool],
) -> RewriteFunction:
    """Return a function that loads a model, answers prompts with it and frees its memory.
    `on_progress` is called with the prompts answered and all prompts; True stops the work."""

    def rewrite(model: str, prompts: list[str]) -> list[str] | None:
        loaded = base_model.load_base(model, device, dtype, trust_remote_code=trust_remote_code)
        tokenizer = base_model.load_tokenizer(model, trust_remote_code=trust_remote_code)
        try:
            return _answer(TextGenerator(loaded, tokenizer), prompts, on_progress)
        finally:
            del loaded
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()

    return rewrite


def _answer(
    generator: TextGenerator, prompts: list[str], on_progress: Callable[[int, int], bool]
) -> list[str] | None:
    """Answer the prompts; those too long for the model get an empty answer, which is rejected."""
    requests: list[Any] = []
    answers = [""] * len(prompts)
    fitting = []  # indices of the prompts that fit
    for index, prompt in enumerate(prompts):
        most_tokens = 16 + 2 * len(generator.tokenizer(prompt, add_special_tokens=False).input_ids)
        with contextlib.suppress(UserError):
            requests.append(generator.fit([Message("user", prompt)], most_tokens))
            fitting.append(index)
    texts = generator.write_many(requests, lambda done: on_progress(done, len(requests)))
    if texts is None:
        return None
    for index, text in zip(fitting, texts, strict=True):
        answers[index] = text
    return answers


def _mark_used(rewrites: Rewrites, train: Sequence[Row], held_out: Sequence[Row]) -> Rewrites:
    """Set `used` of every version."""
    seen = {_normalised(row.content()) for row in (*train, *held_out)}
    versions = []
    for row, version in zip(train, rewrites.versions, strict=True):
        text = _normalised(_rewritten_row(row, version.after).content())
        used = _is_plausible(version.before, version.after) and text not in seen
        if used:
            seen.add(text)
        versions.append(msgspec.structs.replace(version, used=used))
    return msgspec.structs.replace(rewrites, versions=versions)


def _is_plausible(before: str, after: str) -> bool:
    """Return whether a version may mean the same, judged by its length and its numbers."""
    ratio = (1 + len(after)) / (1 + len(before))
    same_numbers = sorted(_NUMBER.findall(before)) == sorted(_NUMBER.findall(after))
    return bool(after.strip()) and same_numbers and 1 / MOST_GROWTH <= ratio <= MOST_GROWTH


def _normalised(text: str) -> str:
    return " ".join(text.split()).casefold()


def _last_question(row: Row) -> int:
    """Return the index of the user's last turn, which is rewritten; -1 where there is none."""
    turns = [index for index, turn in enumerate(row.messages) if turn.role == "user"]
    return turns[-1] if turns else -1


def _source_text(row: Row) -> str:
    """Return the part of a row that is rewritten: its text or the last question, not answers."""
    if row.text is not None:
        return row.text
    index = _last_question(row)
    return row.messages[index].content if index >= 0 else ""


def _rewritten_row(row: Row, text: str) -> Row:
    """Return the row with `text` in place of the part that is rewritten."""
    where = f"{row.where}, rewritten"
    index = _last_question(row)
    if row.text is not None or index < 0:
        return dataclasses.replace(row, text=text, where=where)
    turns = list(row.messages)
    turns[index] = dataclasses.replace(turns[index], content=text)
    return dataclasses.replace(row, messages=tuple(turns), where=where)


def _read(file: Path, key: str) -> Rewrites | None:
    try:
        rewrites = msgspec.json.decode(file.read_bytes(), type=Rewrites)
    except (OSError, *BAD_CONTENT):
        return None
    return rewrites if rewrites.key == key else None


def _prune(folder: Path) -> None:
    """Delete all but the newest files."""
    with contextlib.suppress(OSError):
        files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for file in files[:-_KEPT_FILES]:
            file.unlink(missing_ok=True)
