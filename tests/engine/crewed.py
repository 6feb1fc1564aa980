"""`python -m tests.engine.crewed RUN_DIR`: the engine, to which few rows are many."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from tui_trainer.engine import crew, setup
    from tui_trainer.engine.__main__ import main

    setup.usable_threads = lambda: 1
    crew.LEAST, crew.CHUNK = 0, 200
    sys.exit(main([sys.argv[1]]))
