"""What is measured of the gradients, and when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tui_trainer.contracts.runs.metrics import GradientCheck
from tui_trainer.engine import gradient_health, loop
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.runs.details_pages import facts
from tui_trainer.watch.runs.details.run_details import RunDetails
from tui_trainer.watch.snapshots import RunSummary, RunView


def session_of(*gradients: list[float] | None) -> Any:
    parameters = {}
    for number, gradient in enumerate(gradients):
        parameters[str(number)] = parameter = nn.Parameter(torch.zeros(3))
        parameter.grad = None if gradient is None else torch.tensor(gradient)
    return SimpleNamespace(parameters=parameters, state=SimpleNamespace(step=9))


def test_nan_and_infinity_are_counted_apart() -> None:
    nan, inf = float("nan"), float("inf")
    found = gradient_health.measure(session_of([nan, -7.0, 2.0], [inf, -inf, nan], None))
    assert (found.step, found.nan, found.infinite, found.largest) == (10, 2, 2, 7.0)
    assert (found.with_gradient, found.parameters) == (6, 9)
    assert gradient_health.measure(session_of([nan] * 3)).largest is None
    assert gradient_health.measure(session_of(None)).with_gradient == 0


def test_the_first_step_and_broken_ones_are_measured(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    written: list[GradientCheck] = []
    original, record = loop.forward_backward, gradient_health.record

    def broken(session: Any, passes: Any) -> Any:
        sums = original(session, passes)
        if session.state.step == 4:
            next(iter(session.parameters.values())).grad.view(-1)[0] = float("inf")
        return sums

    def look(session: Any, outcome: Any) -> None:
        record(session, outcome)
        if outcome.gradients is not None:
            found = session.folder.gradients()
            assert found is not None
            written.append(found)

    monkeypatch.setattr(loop, "forward_backward", broken)
    monkeypatch.setattr(gradient_health, "record", look)
    monkeypatch.setattr(gradient_health, "EVERY", 8)
    assert run_engine(make_run()) == 0
    assert [(one.step, one.infinite, one.last_not_finite) for one in written] == [
        (1, 0, None), (5, 1, 5), (8, 0, 5),
    ]  # fmt: skip
    assert all(one.with_gradient == one.parameters > 0 for one in written)


def test_the_details_show_them() -> None:
    check = GradientCheck(
        step=50, time=0.0, largest=0.125, nan=3, infinite=0, with_gradient=10, parameters=1200,
        last_not_finite=50,
    )  # fmt: skip
    view = RunView(RunSummary(Path("/runs/a"), "a", "alpha", "run", "completed"))
    lines = [" ".join(line.split()) for line in facts(RunDetails(view, gradients=check), 80)
             .plain.split("\n")]  # fmt: skip
    assert lines[-6:] == [
        "gradients at step 50", "largest |gradient| 0.1250", "NaN 3 values", "infinity 0 values",
        "NaN or infinity last at step 50", "parameters with gradient 10 of 1,200",
    ]  # fmt: skip
