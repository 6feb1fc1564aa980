"""`adapters export`."""

from __future__ import annotations

from pathlib import Path

import click

from tui_trainer.cli.common import options, output
from tui_trainer.store.adapters.adapter_export import export_adapter
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.text import formats


@click.command()
@click.argument("name", metavar="NAME")
@click.argument("target", metavar="PATH", type=click.Path(path_type=Path))
@options.debug_option
def export(name: str, target: Path) -> None:
    """Copy an adapter to a folder or an archive.

    Archives are .tar, .tar.gz and .tgz.

    \b
    Examples:
      tui-trainer adapters export capitals ./capitals
      tui-trainer adapters export capitals capitals.tar.gz
    """
    written = export_adapter(AdapterStore(), name, target.expanduser())
    output.data(formats.escape(str(written)))
