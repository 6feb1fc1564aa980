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

t=tokenizer(extra=("<|user|>","<|assistant|>"),template="""{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}""")
e,_=encode_part(ReadRows([Row((Message("user","Name a fruit."),Message("assistant","A plum.")),None,1.0,"x")]),TokenizerPool(t),4096)
said=t.decode([i for i,l in zip(e[0].input_ids,e[0].learned) if l])
raise SystemExit(0 if said!="A plum." and said.startswith("A plum.") else 1)
P
