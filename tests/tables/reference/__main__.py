"""`python -m tests.tables.reference`: writes `docs/reference/`, made from the types, the commands
and the tables of the package."""

from __future__ import annotations

from pathlib import Path

from tests.tables.reference import commands, files, keys, settings

FOLDER = Path(__file__).parents[3] / "docs" / "reference"
PAGES = {
    "settings.md": settings.page,
    "commands.md": commands.page,
    "keys.md": keys.page,
    "files.md": files.page,
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
