"""Tokens of rows that were tokenised before, stored by content in the user's cache folder.

The key is a SHA-256 over everything that determines the tokens: the rows' text, the tokenizer
with its chat template, the versions of the libraries, and the settings. An entry is a sealed
file (token_table.py); a damaged one is ignored and overwritten. Results do not depend on what is
in the folder.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import msgspec
import tokenizers
import transformers

from tui_trainer.engine.data.tokens.token_table import TokenTable, read_table
from tui_trainer.models.turn_end import generation_stops
from tui_trainer.store import paths, sealed_cache

# Increase when encoding.py makes other tokens of the same rows.
VERSION = 3
MOST_BYTES = 1 << 30  # of all entries but this run's; the least recently used are deleted first
LEAST_CHARACTERS = 50_000  # in a part's rows; tokenising fewer takes a fraction of a second
_SUFFIX = ".tokens"


class TokenCache:
    """The entries of one tokenizer."""

    def __init__(self, tokenizer: Any, folder: Path | None = None) -> None:
        self._tokenizer = tokenizer
        self._folder = folder or paths.cache_dir() / "tokens"
        self._used: set[Path] = set()  # entries that this run has found or written
        self.hits = 0  # entries that were found
        self.problem: str | None = None  # why an entry could not be written, for the user

    def get(
        self,
        settings: object,
        contents: Iterable[object],
        rows: int,
        make: Callable[[], TokenTable],
    ) -> TokenTable:
        """Return the tokens of `rows` rows of this content: the entry, or those of `make`, which
        are stored. Many tokens stay in the entry's file and are read from there."""
        key = self._key(settings, contents)
        if key is None:
            return make()
        file = self._folder / f"{key}{_SUFFIX}"
        table = self._load(file, rows)
        if table is not None:
            self.hits += 1
            return table
        return self._store(file, make())

    def _key(self, settings: object, rows: Iterable[object]) -> str | None:
        """Return the key of rows of this content, tokenised with these settings; None where they
        are not worth an entry, or the tokenizer cannot be identified."""
        digest, size = hashlib.sha256(), 0
        for row in rows:
            line = msgspec.json.encode(row)
            digest.update(line + b"\n")  # encoded JSON contains no line break
            size += len(line)
        own = identity(self._tokenizer) if size >= LEAST_CHARACTERS else None
        if own is None:
            return None
        digest.update(own + msgspec.json.encode((VERSION, settings)))
        return digest.hexdigest()

    def _load(self, file: Path, rows: int) -> TokenTable | None:
        """Return an entry; None where it is missing, damaged or not of `rows` rows."""
        entry = sealed_cache.open_entry(file)
        table = None if entry is None else _table_of(entry)
        if table is None or table.total != rows:
            return None
        self._used.add(file)
        return table

    def _store(self, file: Path, table: TokenTable) -> TokenTable:
        """Write an entry and return its tokens; `problem` says why where that fails."""
        self._used.add(file)
        try:
            sealed_cache.write(file, table.chunks(), MOST_BYTES, self._used)
            # The temporary file, if there is one, is then no longer needed.
            return table if table.in_memory else _table_of(file.open("rb")) or table
        except OSError as error:
            self.problem = (
                f"the token cache cannot be written, so the next run tokenises again: {error}"
            )
            return table


def _table_of(entry: IO[bytes]) -> TokenTable | None:
    """Return the tokens in an open entry; None where it has something else. The entry is closed
    where it is not needed any more."""
    start = sealed_cache.DIGEST_BYTES
    try:
        return read_table(entry, start, os.fstat(entry.fileno()).st_size - start)
    except (OSError, ValueError, msgspec.MsgspecError):
        entry.close()
        return None


def identity(tokenizer: Any) -> bytes | None:
    """Return a digest of everything in a tokenizer that affects the tokens; None where that cannot
    be known, because it has code of its own or is not of the tokenizers library."""
    if has_own_code(tokenizer):
        return None
    kind = type(tokenizer)
    values = msgspec.json.decode(tokenizer.backend_tokenizer.to_str())
    values.pop("truncation", None)  # left over from the previous call
    values.pop("padding", None)
    template = str(tokenizer.chat_template)
    today = time.strftime("%Y-%m-%d") if "strftime_now" in template else ""
    return hashlib.sha256(
        msgspec.json.encode(
            (
                *(transformers.__version__, tokenizers.__version__, kind.__qualname__),
                *(template, today, str(tokenizer.eos_token), str(tokenizer.bos_token)),
                *(tokenizer.truncation_side, generation_stops(tokenizer)),
                values,
            )
        )
    ).digest()


def has_own_code(tokenizer: Any) -> bool:
    """Return whether a tokenizer may run code beyond transformers and the tokenizers library."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is None or type(tokenizer).__module__.split(".")[0] != "transformers"
