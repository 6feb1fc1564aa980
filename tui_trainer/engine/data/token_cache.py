"""Rows that were tokenised before: their tokens, kept by content in the user's cache folder.

The key is a SHA-256 over everything that the tokens follow from: every row's turns, the tokenizer
with its chat template, the libraries' versions, and the settings. An entry is a digest and a
safetensors file; one that is damaged is made anew. No result depends on what lies here.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors.numpy
import tokenizers
import transformers
from safetensors import SafetensorError

from tui_trainer.store import atomic, paths

Numbers = npt.NDArray[Any]

# To be raised whenever encode.py makes other tokens of the same rows.
VERSION = 1
MOST_BYTES = 1 << 30  # of all entries; the ones that were not used for longest go first
LEAST_CHARACTERS = 50_000  # of a part's rows; less is tokenised in a blink
_SUFFIX = ".tokens"
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Tokens:
    """Of each row its token ids and which of them are learned (0/1), cut to the length limit and
    empty where nothing is learned; `longer` counts the rows that were cut."""

    ids: list[list[int]]
    learned: list[list[int]]
    longer: int


class TokenCache:
    """The entries of one tokenizer. `found` counts what was there already; `problem` says why
    something could not be kept."""

    def __init__(self, tokenizer: Any, folder: Path | None = None) -> None:
        self._tokenizer = tokenizer
        self._folder = folder or paths.cache_dir() / "tokens"
        self.found = 0
        self.problem: str | None = None

    def get(self, settings: object, rows: Iterable[object], make: Callable[[], Tokens]) -> Tokens:
        """What `make` gives for rows of this content and these settings, made or found."""
        digest, size, count = hashlib.sha256(), 0, 0
        for row in rows:
            line = msgspec.json.encode(row)
            digest.update(line + b"\n")  # no line break stands in encoded JSON
            size, count = size + len(line), count + 1
        own = identity(self._tokenizer) if size >= LEAST_CHARACTERS else None
        if own is None:
            return make()
        digest.update(own + msgspec.json.encode((VERSION, settings)))
        file = self._folder / f"{digest.hexdigest()}{_SUFFIX}"
        tokens = _read(file)
        if tokens is not None and len(tokens.ids) == count:
            self.found += 1
            with contextlib.suppress(OSError):  # its time of use, only for `prune`
                file.touch()
            return tokens
        tokens = make()
        try:
            paths.make_private_dir(self._folder)
            _write(file, tokens)
            prune(self._folder)
        except OSError as error:
            self.problem = f"the tokens could not be kept for the next run: {error}"
        return tokens


def identity(tokenizer: Any) -> bytes | None:
    """Everything of a tokenizer that makes a difference; None where that cannot be known: it
    brings code of its own, or is not written in the tokenizers library."""
    if has_own_code(tokenizer):
        return None
    kind = type(tokenizer)
    values = msgspec.json.decode(tokenizer.backend_tokenizer.to_str())
    values.pop("truncation", None)  # left there by the call before
    values.pop("padding", None)
    template = str(tokenizer.chat_template)
    today = time.strftime("%Y-%m-%d") if "strftime_now" in template else ""
    return hashlib.sha256(
        msgspec.json.encode(
            (
                *(transformers.__version__, tokenizers.__version__, kind.__qualname__),
                *(template, today, str(tokenizer.eos_token), tokenizer.truncation_side),
                values,
            )
        )
    ).digest()


def has_own_code(tokenizer: Any) -> bool:
    """Whether a tokenizer does more, or may, than transformers with the tokenizers library."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is None or type(tokenizer).__module__.split(".")[0] != "transformers"


def prune(folder: Path) -> None:
    """Drops the entries that were not used for longest until all take `MOST_BYTES` at most."""
    entries = []
    for file in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):  # another run dropped it
            facts = file.stat()
            entries.append((facts.st_mtime_ns, facts.st_size, file))
    total = sum(size for _, size, _ in entries)
    for _, size, file in sorted(entries):
        if total <= MOST_BYTES:
            return
        file.unlink(missing_ok=True)
        total -= size


def pack(tokens: Tokens) -> dict[str, Numbers]:
    """Tokens as a few arrays."""
    ids = np.fromiter(chain.from_iterable(tokens.ids), dtype=np.int32)
    learned = np.fromiter(chain.from_iterable(tokens.learned), dtype=np.uint8)
    lengths = np.array([len(row) for row in tokens.ids], dtype=np.int32)
    return {
        "ids": ids,
        "learned": np.packbits(learned),
        "lengths": lengths,
        "longer": np.array([tokens.longer], dtype=np.int64),
    }


def unpack(found: Mapping[str, Numbers]) -> Tokens:
    """What `pack` was given. Raises `KeyError` or `ValueError` for anything else."""
    ends = np.cumsum(found["lengths"], dtype=np.int64)[:-1]
    learned = np.unpackbits(found["learned"], count=len(found["ids"]))
    return Tokens(
        [part.tolist() for part in np.split(found["ids"], ends)],
        [part.tolist() for part in np.split(learned, ends)],
        int(found["longer"][0]),
    )


def _write(file: Path, tokens: Tokens) -> None:
    """Writes an entry for the user alone."""
    data = safetensors.numpy.save(pack(tokens))
    atomic.write_bytes(file, hashlib.sha256(data).digest() + data, durable=False)


def _read(file: Path) -> Tokens | None:
    """An entry; None where there is none, or not as it was written."""
    try:
        whole = file.read_bytes()
        data = whole[_DIGEST:]
        if hashlib.sha256(data).digest() != whole[:_DIGEST]:
            return None
        return unpack(safetensors.numpy.load(data))
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
