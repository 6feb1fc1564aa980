"""Saves the trained adapter in the run folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tui_trainer.engine.checkpoints import disk_space
from tui_trainer.engine.state.session import Session
from tui_trainer.models import lora_train
from tui_trainer.store import atomic
from tui_trainer.store.runs import disk_reserve


def export_adapter(session: Session) -> None:
    """Writes `adapter/` in PEFT's own format, without its README: aside first, then swapped in by
    rename. Where the disk is full, what matters less than the result makes room: first
    checkpoints, never the newest whole one, then the space in reserve. Raises `NoRoomError`.
    """
    folder, need = session.folder, disk_space.adapter_bytes(session)

    def enough() -> bool:
        return disk_space.free(session) >= need

    ways: tuple[Callable[[], bool], ...] = (
        lambda: True,
        lambda: disk_space.make(session, enough),
        lambda: disk_space.make(
            session, lambda: False
        ),  # the estimate was too low: all that can go
        lambda: disk_reserve.release(folder.path),
    )
    for make_room in ways:
        if not make_room():
            continue
        try:
            _write_adapter(session)
            return
        except Exception as error:
            shutil.rmtree(_temporary(session), ignore_errors=True)
            if not disk_space.is_full(error):
                raise
    raise disk_space.no_room_for_adapter(session)


def write_card(session: Session) -> None:
    """Adds the adapter's README, or brings it up to date; says so where the disk is too full."""
    file = session.folder.adapter_dir / "README.md"
    try:
        atomic.write_bytes(file, model_card(session).encode())
    except OSError as error:
        if not disk_space.is_full(error):
            raise
        message = f"the disk is full: the adapter is saved, but without {file.name}"
        session.report.event("warning", session.state.step, message)


def _temporary(session: Session) -> Path:
    return session.folder.adapter_dir.with_name(".adapter.tmp")


def _write_adapter(session: Session) -> None:
    target = session.folder.adapter_dir
    temporary = _temporary(session)
    old = target.with_name(".adapter.old.tmp")
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(mode=0o700)
    lora_train.save_adapter(session.model, temporary, session.base_reference)
    labels = session.dataset.labels
    if labels:
        names = {str(index): label for index, label in enumerate(labels)}
        atomic.write_json(temporary / "labels.json", {"id2label": names})
    for file in temporary.iterdir():
        atomic.sync_file(file)
    if target.exists():
        target.rename(old)
    temporary.rename(target)
    atomic.sync_dir(session.folder.path)
    shutil.rmtree(old, ignore_errors=True)


def model_card(session: Session) -> str:
    """The adapter's README in the form of a Hugging Face model card."""
    info, job, state = session.info, session.job, session.state
    best = (
        f"{state.best_val_loss:.4f} at step {state.best_step:,}"
        if state.best_val_loss is not None and state.best_step is not None
        else "not measured (no validation data)"
    )
    rows = {
        "base model": info.base_model,
        "base SHA-256": info.base_hash or "not known",
        "data SHA-256": info.data_hash,
        "training examples": f"{len(session.dataset.train):,}",
        "steps": f"{state.step:,} of {session.plan.total_steps:,}",
        "tokens seen": f"{state.tokens_seen:,}",
        "best validation loss": best,
        "rank, alpha, dropout": f"{job.lora.rank}, {job.lora.alpha:g}, {job.lora.dropout:g}",
        "learning rate": f"{job.training.learning_rate:g}, {job.training.scheduler}",
        "seed": str(job.training.seed),
    }
    if session.dataset.labels:
        rows["classes"] = f"{len(session.dataset.labels):,}, named in labels.json"
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""---
base_model: {info.base_model}
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
    """A script that loads the adapter."""
    base = session.base_reference
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
