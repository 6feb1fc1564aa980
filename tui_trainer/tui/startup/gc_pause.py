"""Python's search for unreachable cycles, held back while the program starts.

What is loaded at the start stays until the end, and the search walks through all of it again and
again: a tenth of a second of the first half second, in pauses of up to 20 ms.
"""

from __future__ import annotations

import gc


def hold() -> None:
    """Searches no more; what nothing refers to is still freed at once."""
    gc.disable()


def release() -> None:
    """Searches again, among what is made from now on; a second call does nothing."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
