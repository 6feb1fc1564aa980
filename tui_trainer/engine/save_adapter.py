"""Saving the trained adapter in the run folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tui_trainer.engine.checkpoints import disk_space
from tui_trainer.engine.state.session import Session
from tui_trainer.models import lora_train
from tui_trainer.store import atomic
from tui_trainer.store.runs import disk_reserve
from tui_trainer.text.formats import count, number


def export_adapter(session: Session) -> None:
    """Write `adapter/` in PEFT's format, without its README: into a temporary folder, then renamed.

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
            _write_adapter(session)
            return
        except Exception as error:
            shutil.rmtree(_temporary(session), ignore_errors=True)
            if not disk_space.is_full(error):
                raise
    raise disk_space.no_room_for_adapter(session)


def write_card(session: Session) -> None:
    """Write the adapter's README; log a warning where the disk is full."""
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
    """Return the adapter's README, a Hugging Face model card."""
    info, job, state = session.info, session.job, session.state
    best = (
        f"{number(state.best_val_loss)} at step {count(state.best_step)}"
        if state.best_val_loss is not None and state.best_step is not None
        else "not measured (no validation data)"
    )
    rows = {
        "base model": info.base_model,
        "base SHA-256": info.base_hash or "not known",
        "data SHA-256": info.data_hash,
        "training examples": count(len(session.dataset.train)),
        "steps": f"{count(state.step)} of {count(session.plan.total_steps)}",
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
    """Return a Python script that loads the adapter."""
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
