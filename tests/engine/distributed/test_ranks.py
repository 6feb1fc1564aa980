"""Ranks of several processes, and that a single process does not use them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from tui_trainer.engine.data.example import Example
from tui_trainer.engine.distributed import dist_env, sharding
from tui_trainer.engine.state import ranks


def test_examples_are_shared_by_tokens() -> None:
    examples = [Example([0] * length, [1] * length, 1.0) for length in (9, 7, 6, 5, 4, 1)]
    shares = [[len(e.input_ids) for e in share] for share in ranks.share_examples(examples, 2)]
    assert shares == [[9, 5, 1], [7, 6, 4]]
    assert ranks.share_examples(examples[:1], 3)[1:] == [[], []]


@pytest.mark.slow
def test_a_run_of_one_process_does_not_import_torch_distributed() -> None:
    code = (
        "import sys; from tui_trainer.engine import __main__, loop, save_adapter, setup; "
        "from tui_trainer.engine.records import hardware_log; "
        "print([name for name in ('process_group', 'sharding', 'launcher', 'follower') "
        "if 'tui_trainer.engine.distributed.' + name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_rank_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in dist_env.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert dist_env.process_rank() == dist_env.ProcessRank()
    for name, value in zip(dist_env.VARIABLES, ("3", "8", "1", "2", "host", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    assert dist_env.process_rank() == dist_env.ProcessRank(3, 8, 1, 2)
    monkeypatch.delenv("MASTER_ADDR")  # a scheduler's own variables are no launch
    assert dist_env.process_rank() == dist_env.ProcessRank()


def test_processes_of_a_sharded_base_have_the_same_number_of_passes() -> None:
    examples = [Example([0] * length, [1] * length, 1.0) for length in (40, 9, 8, 7, 6)]
    passes: list[Sequence[Example]] = [examples[:2], examples[2:4], examples[4:]]
    shares = ranks.share_examples(examples, 2)
    first, second = (sharding.own_passes(passes, shares, rank) for rank in (0, 1))
    assert first[0] == examples[:1]
    assert second == [examples[1:3], examples[3:]]
    (idle,) = first[1]
    assert idle.weight == 0  # it is calculated with, and adds nothing
