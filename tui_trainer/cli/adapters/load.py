"""`adapters load` and `adapters unload`: which adapters are active."""

from __future__ import annotations

import click

from tui_trainer.cli.common import options, output
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.text import formats


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@options.debug_option
def load(names: tuple[str, ...]) -> None:
    """Activate an adapter, or several with weights (A=0.7 B=0.3).

    An open session uses it from its next answer on.

    \b
    Examples:
      tui-trainer adapters load taught-20261121-1
      tui-trainer adapters load capitals=0.7 colours=0.3
    """
    store, weights = AdapterStore(), _weights(names)
    for name in weights:
        store.check_answers(name)
        store.usable_folder(name)
    base = store.get(next(iter(weights))).base_model
    store.set_live(weights, base)
    output.message(f"active on {formats.escape(base)}: {formats.escape(' '.join(names))}")


@click.command()
@click.option("--model", default="builtin", show_default=True, metavar="M", help="The base model.")
@options.debug_option
def unload(model: str) -> None:
    """Deactivate all adapters of a base model.

    \b
    Example:
      tui-trainer adapters unload
    """
    AdapterStore().set_live({}, model)
    output.message(f"no adapter is active on {formats.escape(model)}")


def _weights(names: tuple[str, ...]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for argument in names:
        name, equals, text = argument.partition("=")
        try:
            weights[name] = float(text) if equals else 1.0
        except ValueError:
            raise click.UsageError(f"{argument!r} is not NAME or NAME=WEIGHT") from None
    return weights
