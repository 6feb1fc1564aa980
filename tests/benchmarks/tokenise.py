"""`python -m tests.benchmarks.tokenise ROWS.jsonl [--rows 50000] [--workers 0,1,2]`: seconds to
tokenise a file's rows, said again until there are so many, without the cache; the start of the
workers counts. The digest shows that all made the same."""

from __future__ import annotations

import argparse
import os
import time
from itertools import cycle, islice
from pathlib import Path

from tui_trainer.engine.data.dataset import fingerprint
from tui_trainer.engine.data.encoding import encode
from tui_trainer.engine.data.row_formats import ReadRows, read_rows
from tui_trainer.engine.data.tokenizer_pool import TokenizerPool
from tui_trainer.models.base_model import load_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.tokenise", description=__doc__
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--workers", default="0,1,2", help="numbers of workers, with commas")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # as in the engine
    tokenizer = load_tokenizer(options.model)
    rows = ReadRows(list(islice(cycle(read_rows([options.file]).found), options.rows)))
    for workers in map(int, options.workers.split(",")):
        began = time.perf_counter()
        with TokenizerPool(tokenizer, workers) as crew:
            examples, report = encode(rows, tokenizer, 512, None, crew)
        seconds = time.perf_counter() - began
        print(
            f"{workers} workers: {seconds:.1f} s, {len(rows.found) / seconds:,.0f} rows/s, "
            f"{report.tokens:,} tokens, {fingerprint(examples)[:12]}",
            flush=True,
        )


if __name__ == "__main__":
    main()
