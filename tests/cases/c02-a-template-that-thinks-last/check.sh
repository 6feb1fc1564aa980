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

t=tokenizer(eos="<|close|>",extra=("<|open|>",),template="""{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}<|open|>{{ m.role }}\n{% if m.role == 'assistant' and loop.index0 > ns.last %}<muse></muse>\n{% endif %}{{ m.content }}<|close|>\n{% endfor %}{% if add_generation_prompt %}<|open|>assistant\n{% endif %}""")
e,_=encode_part(ReadRows([Row(tuple([Message("user","Name a fruit."),Message("assistant","A plum."),Message("user","And a bird?"),Message("assistant","A crow.")]),None,1.0,"x")]),TokenizerPool(t),4096)
said="".join(t.decode([i for i,l in zip(x.input_ids,x.learned) if l]) for x in e)
raise SystemExit(0 if "A plum.<|close|>" in said and "A crow.<|close|>" in said and "bird" not in said else 1)
P
