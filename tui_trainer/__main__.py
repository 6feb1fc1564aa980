"""`python -m tui_trainer` is `tui-trainer`."""

from __future__ import annotations

import sys

from tui_trainer.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
