"""Merging an adapter into its base, written as one model."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from transformers import GenerationConfig

from tui_trainer.contracts.errors import UserError
from tui_trainer.models import base_model as bases
from tui_trainer.models import lora_load
from tui_trainer.models.base_identity import BaseIdentity
from tui_trainer.models.tied_weights import untie
from tui_trainer.store import atomic, paths
from tui_trainer.text.formats import size

STAGES = ("loading the base", "merging", "writing the model")


def merge(
    base: lora_load.Base,
    folder: Path,
    out: Path,
    *,
    trust_remote_code: bool = False,
    on_stage: Callable[[int], None] = lambda _: None,
) -> int:
    """Write base and adapter as one model in fp32 into `out`; return its size in bytes.

    The model loads with plain transformers and gives the same logits: a shared weight that the
    adapter changes in one layer is written untied. It is written to a temporary folder and renamed.
    `on_stage` is called with the number of finished `STAGES`; an exception from it stops the merge
    and removes the temporary folder. Raises `UserError`, also where `out` exists and is not empty.
    """
    adapter = lora_load.read(folder, base)
    check_target(out)
    check_not_quantised(base.origin)
    on_stage(0)
    model = _load_unquantised(base.origin, trust_remote_code)
    check_space(model, out)
    tokenizer = bases.load_tokenizer(base.origin.model, trust_remote_code=trust_remote_code)
    on_stage(1)
    try:
        untie(model, adapter.updates)
    except UserError as error:
        raise UserError(f"the adapter in {folder} cannot be merged: {error}") from None
    peft_model = lora_load.add_adapter(model, None, adapter, "merged")
    with lora_load.BUILDING:
        merged: Any = peft_model.merge_and_unload(safe_merge=True)
    on_stage(2)
    return publish(merged, tokenizer, base.origin, out, lambda: on_stage(3))


def publish(
    merged: Any,
    tokenizer: Any,
    origin: BaseIdentity,
    out: Path,
    before_rename: Callable[[], None] = lambda: None,
) -> int:
    """Write a merged model into a temporary folder and rename it to `out`; return its size in
    bytes. Raises `UserError`."""
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        _make_temporary(out, temporary)
        _write(merged, tokenizer, origin, temporary)
        before_rename()
        written = _finish(temporary)
        temporary.replace(out)
    except (OSError, SafetensorError) as error:
        raise UserError(f"the merged model cannot be written to {out}: {error}", 1) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    atomic.sync_dir(out.parent)
    return written


def check_target(out: Path) -> None:
    """Raise `UserError` unless `out` is a new or empty folder."""
    try:
        if not out.is_symlink() and not out.exists():
            return
        if out.is_dir() and not out.is_symlink() and not any(out.iterdir()):
            return
    except OSError as error:
        raise UserError(f"{out} cannot be read: {error.strerror}") from None
    raise UserError(f"{out} exists and is not an empty folder; name a new one")


def _make_temporary(out: Path, temporary: Path) -> None:
    """Create the temporary folder, and delete those left by merges that were killed."""
    paths.make_private_dir(out.parent)
    temporary.mkdir(mode=0o700)
    name = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.tmp")
    for folder in out.parent.iterdir():
        if folder != temporary and name.fullmatch(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def check_not_quantised(origin: BaseIdentity) -> None:
    """Raise `UserError` for a quantised base, whose weights are too coarse for an update."""
    config = _base_file(origin, "config.json")
    if config is None:
        return
    try:
        quantised = json.loads(config.read_text(encoding="utf-8")).get("quantization_config")
    except (OSError, ValueError, AttributeError):
        return  # loading it reports the problem
    if quantised:
        raise UserError(
            f"{origin.model} is quantised, and merging into it would lose most of the update; "
            "merge into the unquantised base"
        )


def _load_unquantised(origin: BaseIdentity, trust_remote_code: bool) -> Any:
    with lora_load.BUILDING:
        return bases.load_base(
            origin.model,
            torch.device("cpu"),
            torch.float32,
            trust_remote_code=trust_remote_code,
            not_finite=origin.not_finite,
        )


def check_space(model: Any, out: Path) -> None:
    """Raise `UserError` where the disk has no room for the model in fp32."""
    needed = sum(parameter.numel() * 4 for parameter in model.parameters())
    existing = next(parent for parent in out.absolute().parents if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{existing} has {size(free)} free, and the merged model needs {size(needed)}; free "
            "some space or name another folder",
            1,
        )


def _write(merged: Any, tokenizer: Any, origin: BaseIdentity, folder: Path) -> None:
    generates = merged.can_generate()
    if generates:
        # transformers loads some generation settings that it refuses to save: the file is copied.
        merged.generation_config = GenerationConfig.from_model_config(merged.config)
    merged.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    settings = _base_file(origin, "generation_config.json")
    if generates and settings is not None:
        shutil.copyfile(settings, folder / settings.name)
    if origin.folder is not None:  # Python code of the model
        for code in origin.folder.glob("*.py"):
            shutil.copyfile(code, folder / code.name)


def _base_file(origin: BaseIdentity, name: str) -> Path | None:
    if origin.folder is not None:
        file = origin.folder / name
        return file if file.is_file() else None
    cached = try_to_load_from_cache(origin.model, name)
    return Path(cached) if isinstance(cached, str) else None


def _finish(folder: Path) -> int:
    """Flush every file, readable by the user alone; return their bytes."""
    total = 0
    for file in folder.iterdir():
        file.chmod(atomic.PRIVATE)
        atomic.sync_file(file)
        total += file.stat().st_size
    return total
