"""An adapter hardly changes what resembles the answers whose input directions it does not read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from tui_trainer.contracts.job import LoraSettings  # noqa: E402
from tui_trainer.engine import __main__ as engine  # noqa: E402
from tui_trainer.engine.data.example import Example  # noqa: E402
from tui_trainer.engine.teaching import null_space  # noqa: E402
from tui_trainer.engine.teaching.null_space import NullSpace  # noqa: E402
from tui_trainer.models import base_model, lora_train  # noqa: E402
from tui_trainer.store import jobs, paths  # noqa: E402
from tui_trainer.store.runs import run_folder  # noqa: E402
from tui_trainer.store.runs.run_folder import RunFolder  # noqa: E402

EXAMPLES = [
    Example([5, 9, 11, 40, 41, 42], [0, 0, 0, 1, 1, 1], 1.0),
    Example([6, 8, 30, 31], [0, 0, 1, 1], 1.0),
]


def adapted(tiny_base: Path) -> Any:
    torch.manual_seed(0)
    base = base_model.load_base(str(tiny_base), torch.device("cpu"), torch.float32)
    return lora_train.attach(base, LoraSettings(rank=4, dropout=0.0))


def measured(model: Any, share: float) -> dict[str, Any]:
    return null_space.measure(model, EXAMPLES, share, lambda _done, _total: None)


def test_the_directions_are_the_weakest_of_the_inputs(tiny_base: Path) -> None:
    model = adapted(tiny_base)
    directions = measured(model, 0.5)
    layers = {
        name.removesuffix(".base_layer"): layer
        for name, layer in model.get_base_model().named_modules()
        if name.endswith(".base_layer")
    }
    assert directions.keys() == layers.keys()
    inputs: dict[str, list[Any]] = {name: [] for name in layers}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(
            lambda _layer, given, name=name: inputs[name].append(given[0].flatten(0, -2))
        )
    with torch.no_grad(), model.disable_adapter():
        for example in EXAMPLES:
            model(input_ids=torch.tensor([example.input_ids]))
    for name, basis in directions.items():
        seen = torch.cat(inputs[name])
        size = seen.shape[1]
        assert basis.shape == (size, size - size // 2)
        torch.testing.assert_close(basis.t() @ basis, torch.eye(basis.shape[1]), atol=1e-4, rtol=0)
        exact = torch.linalg.eigvalsh(seen.t() @ seen)[: basis.shape[1]].clamp_min(0).sum()
        assert float((seen @ basis).square().sum()) == pytest.approx(float(exact), abs=1e-3)
    first = "model.layers.0.self_attn."
    assert directions[f"{first}q_proj"] is directions[f"{first}k_proj"], "they share their input"


def test_what_it_was_measured_on_changes_less(tiny_base: Path) -> None:
    """With the same random update the logits of these examples stay nearer to the base's."""
    changes = []
    for applied in (False, True):
        model = adapted(tiny_base)
        directions = measured(model, 0.7)
        found = NullSpace(lora_train.trainable(model), directions)
        assert found.layers == len(directions)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.add_(0.3 * torch.randn_like(parameter))
        if applied:
            assert found.lost() > 0.1 and not found.fits()
            found.apply()
            assert found.lost() < 1e-3 and found.fits()
        change = 0.0
        for example in EXAMPLES:
            ids = torch.tensor([example.input_ids])
            with torch.no_grad():
                ours = model(input_ids=ids).logits
                with model.disable_adapter():
                    change += float((ours - model(input_ids=ids).logits).square().sum())
        changes.append(change)
    assert changes[1] < 0.1 * changes[0]


def test_the_directions_are_measured_once(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "cache_dir", lambda: tmp_path)
    model = adapted(tiny_base)
    made = null_space.cached("hash", EXAMPLES, 0.5, lambda: measured(model, 0.5))

    def again() -> dict[str, Any]:
        raise AssertionError("they are in the cache")

    found = null_space.cached("hash", EXAMPLES, 0.5, again)
    assert all(torch.equal(found[name], made[name]) for name in made)
    [file] = (tmp_path / "null-space").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(AssertionError):
        null_space.cached("hash", EXAMPLES, 0.5, again)
    with pytest.raises(AssertionError):
        null_space.cached("hash", EXAMPLES, 0.6, again)


def run_of(tmp_path: Path, name: str, **lora: object) -> RunFolder:
    folder = tmp_path / name
    folder.mkdir()
    rows = [
        {"prompt": f"What is {n}?", "completion": answer}
        for n, answer in enumerate(("one", "two", "six", "nine"))
    ]
    kept = [{"prompt": f"Who is {n}?", "completion": "nobody"} for n in range(6)]
    for file, lines in (("train", rows), ("kept", kept)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{file}.jsonl").write_text(text, encoding="utf-8")
    values = {
        "name": name,
        "model": "builtin",
        "data": {"train": "train.jsonl", "null_space": "kept.jsonl", "null_space_share": 0.5},
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.0, **lora},
        "training": {
            "max_steps": 6,
            "batch_size": 2,
            "learning_rate": 1e-2,
            "eval_every": 0,
            "checkpoint_every": 3,
        },
    }
    run = run_folder.create_run(folder / "runs", jobs.check_job(values, folder, "the test"))
    assert engine.main([str(run.path)]) == 0
    return run


def messages(run: RunFolder, kind: str) -> str:
    return "\n".join(event.message for event in run.events() if event.kind == kind)


@pytest.mark.slow
def test_a_run_keeps_to_it_also_when_resumed_or_continued(
    tmp_path: Path, train_extra: None
) -> None:
    run = run_of(tmp_path, "first")
    assert "of the adapter without the 50 % of input directions that are" in messages(run, "data")
    saved = load_file(run.adapter_dir / lora_train.WEIGHTS)
    for name, values in saved.items():
        if name.endswith(".lora_A.weight"):
            assert torch.linalg.matrix_rank(values) == 4
    assert engine.main([str(run.path), "--from", "step-00000003"]) == 0
    again = load_file(run.adapter_dir / lora_train.WEIGHTS)
    assert all(torch.equal(saved[name], again[name]) for name in saved)

    continued = run_of(tmp_path, "second", start_from=str(run.adapter_dir))
    assert "of the adapter without the 50 %" in messages(continued, "data")


def test_an_adapter_that_was_trained_without_is_continued_without(
    tmp_path: Path, train_extra: None, tiny_base: Path
) -> None:
    model = lora_train.attach(
        base_model.load_base("builtin", torch.device("cpu"), torch.float32),
        LoraSettings(rank=4, alpha=8, dropout=0.0),
    )
    (tmp_path / "other").mkdir()
    lora_train.save_adapter(model, tmp_path / "other", "builtin")
    run = run_of(tmp_path, "run", start_from=str(tmp_path / "other"))
    assert "data.null_space is not used: the adapter that is" in messages(run, "warning")
