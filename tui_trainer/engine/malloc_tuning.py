"""How the C library hands out memory while a model is trained."""

from __future__ import annotations

import contextlib
import ctypes
import sys

# glibc's own names and numbers (malloc.h).
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST_MMAP_THRESHOLD = 32 << 20
_KEEP_BYTES = 1 << 30


def keep_pages() -> None:
    """Lets glibc keep what tensors of up to 32 MiB give back, instead of asking the system for
    fresh pages at every operation. In one trial that cut system time from 2.6 to 0.6 s of a run
    and left tokens per CPU second as they were. Changes nothing where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        library.mallopt(_TRIM_THRESHOLD, _KEEP_BYTES)
