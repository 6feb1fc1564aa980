#!/bin/bash
# Exit 0: right. TT = tui-trainer, PY = a python that imports tui_trainer. Run inside this folder.
TT=${TT:-tui-trainer}; PY=${PY:-python}; cd "$(dirname "$0")"; export TUI_TRAINER_HOME=${TUI_TRAINER_HOME:-$(mktemp -d)}
command -v "$TT" >/dev/null && command -v "$PY" >/dev/null || exit 3
$PY - <<'P'
from pathlib import Path
from tui_trainer.engine.data.row_formats import read_rows
from tui_trainer.contracts.errors import UserError

r=read_rows([Path("train.jsonl")]).found
raise SystemExit(0 if len(r)==10 and [m.role for m in r[0].messages]==["system","user","assistant"] else 1)
P
