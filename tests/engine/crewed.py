"""`python -m tests.engine.crewed RUN_DIR`: the engine, to which few rows are many.

Exit status 99 where it ended well and no worker had been asked.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from tui_trainer.engine import crew, setup
    from tui_trainer.engine.__main__ import main

    setup.usable_threads = lambda: 1
    crew.LEAST, crew.CHUNK = 0, 200
    started: list[crew.Crew] = []
    original = crew.Crew._start

    def start(some: crew.Crew) -> None:
        started.append(some)
        original(some)

    setattr(crew.Crew, "_start", start)  # noqa: B010  (a method, to the type checker)
    status = main([sys.argv[1]])
    sys.exit(99 if status == 0 and not started else status)
