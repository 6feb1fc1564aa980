"""Saving the trained adapter in the run folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tui_trainer.engine.checkpoints import disk_space
from tui_trainer.engine.checkpoints.best import Result
from tui_trainer.engine.state.session import Session
from tui_trainer.models import lora_train
from tui_trainer.store import atomic
from tui_trainer.store.adapters import adapter_files
from tui_trainer.store.runs import disk_reserve
from tui_trainer.text.formats import count, number

# Values of a tokenizer's configuration that describe how it was loaded on this machine.
_LOCAL = ("is_local", "local_files_only", "name_or_path", "tokenizer_file")


def export_adapter(session: Session, result: Result) -> None:
    """Write `adapter/` with the weights of `result` in PEFT's format, with the tokenizer and
    without a README: into a temporary folder, then renamed.

    Where the disk is full, less important files are deleted to make room: first checkpoints, but
    not the newest complete one, then the reserved space. Raises `NoRoomError`.
    """
    folder, need = session.folder, disk_space.adapter_bytes(session)

    def enough() -> bool:
        return disk_space.free(session) >= need

    attempts: tuple[Callable[[], bool], ...] = (
        lambda: True,
        lambda: disk_space.make_room(session, enough),
        # Where the estimate was too low: all checkpoints that are not needed.
        lambda: disk_space.make_room(session, lambda: False),
        lambda: disk_reserve.release(folder.path),
    )
    for make_room in attempts:
        if not make_room():
            continue
        try:
            _write_adapter(session, result)
            session.report.set_saved(result.step)
            session.saved = result.text()
            return
        except Exception as error:
            shutil.rmtree(_temporary(session), ignore_errors=True)
            if not disk_space.is_full(error):
                raise
    raise disk_space.no_room_for_adapter(session)


def write_card(session: Session, result: Result) -> None:
    """Write the adapter's README; log a warning where the disk is full."""
    file = session.folder.adapter_dir / "README.md"
    try:
        atomic.write_bytes(file, model_card(session, result).encode())
    except OSError as error:
        if not disk_space.is_full(error):
            raise
        message = f"the disk is full: the adapter is saved, but without {file.name}"
        session.report.event("warning", session.state.step, message)


def _temporary(session: Session) -> Path:
    return session.folder.adapter_dir.with_name(".adapter.tmp")


def _write_adapter(session: Session, result: Result) -> None:
    target = session.folder.adapter_dir
    temporary = _temporary(session)
    old = target.with_name(".adapter.old.tmp")
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(mode=0o700)
    lora_train.save_adapter(
        session.model, temporary, session.base_reference, checkpoint=result.checkpoint
    )
    _add_tokenizer(session, temporary)
    labels = session.dataset.labels
    if labels:
        adapter_files.write_labels(temporary, labels)
    for file in temporary.iterdir():
        if file.is_file():
            atomic.sync_file(file)
    if target.exists():
        target.rename(old)
    temporary.rename(target)
    atomic.sync_dir(session.folder.path)
    shutil.rmtree(old, ignore_errors=True)


def _add_tokenizer(session: Session, folder: Path) -> None:
    """Write the tokenizer beside the weights; leave it out where the disk has no room for it, with
    a warning, as the weights matter more."""
    weights = set(folder.iterdir())
    try:
        _write_tokenizer(session.tokenizer, folder)
    except Exception as error:
        if not disk_space.is_full(error):
            raise
        for file in set(folder.iterdir()) - weights:
            file.unlink()
        message = "the disk is full: the adapter is saved, but without its tokenizer"
        session.report.event("warning", session.state.step, message)


def _write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write the tokenizer's files and its chat template, without what is only true here."""
    tokenizer.save_pretrained(str(folder))
    file = folder / "tokenizer_config.json"
    if file.is_file():
        values = json.loads(file.read_text(encoding="utf-8"))
        kept = {name: value for name, value in values.items() if name not in _LOCAL}
        file.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def model_card(session: Session, result: Result) -> str:
    """Return the adapter's README, a Hugging Face model card."""
    info, job, state = session.info, session.job, session.state
    best = (
        f"{number(state.best_val_loss)} at step {count(state.best_step)}"
        if state.best_val_loss is not None and state.best_step is not None
        else "not measured (no validation data)"
    )
    rows = {
        "base model": session.base_reference,
        "base SHA-256": info.base_hash or "not known",
        "data SHA-256": info.data_hash,
        "training examples": count(len(session.dataset.train)),
        "saved weights": f"of {result.text()}",
        "steps trained": f"{count(state.step)} of {count(session.plan.total_steps)}",
        "tokens seen": count(state.tokens_seen),
        "best validation loss": best,
        "rank, alpha, dropout": f"{job.lora.rank}, {job.lora.alpha:g}, {job.lora.dropout:g}",
        "learning rate": f"{job.training.learning_rate:g}, {job.training.scheduler}",
        "seed": str(job.training.seed),
    }
    if session.dataset.labels:
        rows["classes"] = f"{count(len(session.dataset.labels))}, named in labels.json"
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""---
base_model: {session.base_reference}
library_name: peft
tags: [lora, tui-trainer]
---

# {info.name}

A LoRA adapter, trained by tui-trainer in run `{info.id}`.

| fact | value |
|---|---|
{table}

```python
{_usage(session)}
```
"""


def _usage(session: Session) -> str:
    """Return a Python script that loads the adapter."""
    base = session.base_reference
    if session.info.base_path is not None and "/" not in base:  # not an id: see its SHA-256
        base = f"PATH/TO/{base}"
    if not session.dataset.labels:
        return f"""from peft import PeftModel
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained({base!r})
model = PeftModel.from_pretrained(model, "PATH/TO/THIS/FOLDER")"""
    return f"""import json

from peft import PeftModel
from transformers import AutoModelForSequenceClassification

folder = "PATH/TO/THIS/FOLDER"
names = json.load(open(folder + "/labels.json"))["id2label"]
id2label = {{int(index): label for index, label in names.items()}}
model = AutoModelForSequenceClassification.from_pretrained(
    {base!r}, num_labels=len(id2label), id2label=id2label
)
model = PeftModel.from_pretrained(model, folder)"""
