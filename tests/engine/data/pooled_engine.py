"""`python -m tests.engine.data.pooled_engine RUN_DIR`: the engine, using workers for few rows.

Exit status 99 where the run succeeded without workers.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from tui_trainer.engine import setup
    from tui_trainer.engine.__main__ import main
    from tui_trainer.engine.data.tokens import tokenizer_pool

    setup.usable_threads = lambda: 1
    tokenizer_pool.LEAST_CHARACTERS, tokenizer_pool.CHUNK_CHARACTERS = 0, 200
    started: list[tokenizer_pool.TokenizerPool] = []
    original = tokenizer_pool.TokenizerPool._start

    def start(some: tokenizer_pool.TokenizerPool) -> None:
        started.append(some)
        original(some)

    setattr(tokenizer_pool.TokenizerPool, "_start", start)  # noqa: B010  (a method, to the type checker)
    status = main([sys.argv[1]])
    sys.exit(99 if status == 0 and not started else status)
