"""The adapters in words, two of them compared, and the line that is typed."""

from __future__ import annotations

import re

import msgspec
import pytest

from tui_trainer.contracts.chat.protocol import Comparison, LayerDifference
from tui_trainer.contracts.teaching.adapter import AdapterInfo, Measures
from tui_trainer.repl.command_table import COMMANDS, usage_lines
from tui_trainer.repl.tables import adapter_facts, adapter_table
from tui_trainer.store.adapters.adapter_store import AdapterEntry
from tui_trainer.tui.adapters import adapter_rows
from tui_trainer.tui.adapters.adapter_names import adapter_name, name_problem, weights_problem
from tui_trainer.tui.adapters.adapter_rows import AdapterListing
from tui_trainer.tui.adapters.comparison import ComparisonResult, comparison_text, layer_name
from tui_trainer.tui.chat.completion import CommandForms, InputHistory

INFO = AdapterInfo(
    name="capitals", created_at=1.7e9, base_model="/models/a-base", base_hash="0" * 64,
    after=Measures(recalled=0.999, kept=0.5, recalled_count=1000), examples=["e"],
)  # fmt: skip
COMMAND_FORMS = CommandForms({name: usage_lines(name) for name in COMMANDS})


def test_rows_show_active_and_marked_adapters() -> None:
    other = AdapterInfo(name="other", created_at=2.0, base_model="builtin", base_hash=None)
    both = AdapterListing(
        (AdapterEntry(INFO, 2048, 3), AdapterEntry(other, 10, 0)), (("capitals", 0.7),)
    )
    newest, oldest = adapter_rows.rows_of(both, ["capitals"])
    assert newest.name == "other" and not newest.live and newest.cell("live") == ""
    assert oldest.shown == "● capitals" and oldest.cell("live") == "● 0.7"
    assert oldest.cell("recalled") == "99.9 %" and oldest.cell("size") == "2.0 KiB"
    assert oldest.cell("base") == "a-base" and oldest.cell("queries") == "3"


@pytest.mark.parametrize("width", [58, 73, 118, 198])
def test_columns_fit(width: int) -> None:
    name, columns = adapter_rows.columns_for(width)
    assert name >= 20 and {"live", "recalled", "kept"} <= {column.id for column in columns}
    if width >= 73:
        assert name + 2 + sum(column.width + 2 for column in columns) <= width


def test_comparison_fits_and_names_the_layers() -> None:
    layers = [
        LayerDifference(layer=f"model.layers.{i}.mlp.up_proj", a=i + 1.0, b=0.0, difference=1.0,
                        cosine=None if i else 0.5)
        for i in range(3)
    ]  # fmt: skip
    found = ComparisonResult(
        INFO, INFO, Comparison(whole=layers[2], layers=layers), (("q?", "same", "other " * 30),)
    )
    for width in (60, 124):
        text = comparison_text(found, width)
        assert all(line.cell_length <= width for line in text.split("\n")), width
        assert "2 up_proj" in text.plain and "+0.50" in text.plain
    assert layer_name("lm_head") == "lm_head"


def test_hints_and_completion_of_commands() -> None:
    assert "/help" in COMMAND_FORMS.hint("")
    assert COMMAND_FORMS.hint("a question") == "" == COMMAND_FORMS.hint("//slash")
    assert COMMAND_FORMS.hint("/fix").startswith("/fix TEXT")
    assert COMMAND_FORMS.hint("/f") == "tab completes  /fix  /feedback"
    assert "load NAME" in COMMAND_FORMS.hint("/adapters ")
    assert COMMAND_FORMS.hint("/adapters load") == "/adapters load NAME  activate it"
    assert COMMAND_FORMS.hint("/nothing") == "unknown command /nothing; /help lists the commands"
    assert COMMAND_FORMS.completed("/cr") == "/critical "
    assert COMMAND_FORMS.completed("/f") == "/f" and COMMAND_FORMS.completed("/re") == "/re"
    assert COMMAND_FORMS.completed("/trai") == "/train" and COMMAND_FORMS.completed("x") == "x"


def test_earlier_lines_and_back_to_what_was_typed() -> None:
    recall, lines = InputHistory(), ["one", "two"]
    assert recall.step(lines, "draft", 1) == "draft"
    assert recall.step(lines, "draft", -1) == "two"
    assert recall.step(lines, "two", -1) == "one" == recall.step(lines, "one", -1)
    assert recall.step(lines, "one", 1) == "two"
    assert recall.step(lines, "two", 1) == "draft"
    assert InputHistory().step([], "draft", -1) == "draft"


def test_names_and_weights() -> None:
    assert adapter_name("lighthouse v1.2!") == "lighthouse-v1-2" and adapter_name("…") == "adapter"
    assert name_problem("capitals_2") is None and name_problem("../up") is not None
    assert weights_problem("a=0.7 b=-1") is None
    for wrong in ("", "a", "a=0", "=1", "a=nan", "a=inf"):
        assert weights_problem(wrong) is not None, wrong


def test_the_screen_has_the_facts_of_the_command_line() -> None:
    item = AdapterEntry(INFO, 2048, 3)
    listing = AdapterListing((item,), (("capitals", 0.7),))
    text = adapter_rows.details_of(item, listing, "weights are missing", 58).plain
    shown = adapter_facts(item, 0.7, "weights are missing").rows  # of `adapters show`
    for label, value in shown[1:]:  # the name is the title
        assert label in text
        assert value.split()[0][:20] in text
    assert text.startswith("capitals\nproblem")
    header = adapter_table([item], {"capitals": 0.7}).headers
    assert len(header) == len(adapter_rows.COLUMNS) + 1


def test_a_long_list_is_cut_with_its_rest_counted_and_a_description_is_whole() -> None:
    words = [f"word{number}" for number in range(90)]
    info = msgspec.structs.replace(INFO, description=" ".join(words), examples=words)
    item = AdapterEntry(info, 2048, 3)
    text = adapter_rows.details_of(item, AdapterListing((item,)), "none", 40).plain
    described, _, learned = text.partition("learned")
    assert all(word in described.split() for word in words)
    learned = learned.partition("steps")[0]
    assert re.search(r"… \d+ more lines$", learned.rstrip()) and learned.count("\n") == 8


def test_tags_are_listed_at_200_columns_beside_the_details() -> None:
    _, columns = adapter_rows.columns_for(200 - 2 - 61)
    assert {"tags", "val", "loss"} <= {column.id for column in columns}
