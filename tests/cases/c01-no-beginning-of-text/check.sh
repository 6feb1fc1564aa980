#!/bin/bash
# Exit 0: right. TT = tui-trainer, PY = a python that imports tui_trainer. Run inside this folder.
TT=${TT:-tui-trainer}; PY=${PY:-python}; cd "$(dirname "$0")"; export TUI_TRAINER_HOME=${TUI_TRAINER_HOME:-$(mktemp -d)}
command -v "$TT" >/dev/null && command -v "$PY" >/dev/null || exit 3
$PY - <<'P'
import sys; sys.path.insert(0,".")
from tiny import tokenizer
from tui_trainer.engine.data.rows import Message, ReadRows, Row
from tui_trainer.engine.data.dataset import encode_part
from tui_trainer.engine.data.tokens.tokenizer_pool import TokenizerPool
from tui_trainer.contracts.errors import UserError

t=tokenizer(adds_bos=True)
a,_=encode_part(ReadRows([Row((),"The elm stands by the mill.",1.0,"x")]),TokenizerPool(t),64)
b,_=encode_part(ReadRows([Row((Message("user","Name a tree."),Message("assistant","An elm.")),None,1.0,"x")]),TokenizerPool(t),64)
raise SystemExit(0 if all(e.input_ids[0]==t.bos_token_id and e.input_ids.count(t.bos_token_id)==1 for e in a+b) else 1)
P
