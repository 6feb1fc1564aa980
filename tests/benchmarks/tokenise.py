"""`python -m tests.benchmarks.tokenise ROWS.jsonl [--rows 50000] [--workers 0,1,2]`: seconds to
tokenise a file's rows, repeated up to that number, without the cache and with the start of the
workers. The digest is the same for any number of workers."""

from __future__ import annotations

import argparse
import os
import time
from itertools import cycle, islice
from pathlib import Path

from tui_trainer.engine.data.dataset import encode_part, fingerprint
from tui_trainer.engine.data.row_formats import read_rows
from tui_trainer.engine.data.rows import ReadRows
from tui_trainer.engine.data.tokens.tokenizer_pool import TokenizerPool
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
        started = time.perf_counter()
        with TokenizerPool(tokenizer, workers) as pool:
            examples, report = encode_part(rows, pool, 512)
        seconds = time.perf_counter() - started
        print(
            f"{workers} workers: {seconds:.1f} s, {len(rows.found) / seconds:,.0f} rows/s, "
            f"{report.tokens:,} tokens, {fingerprint(examples)[:12]}",
            flush=True,
        )


if __name__ == "__main__":
    main()
