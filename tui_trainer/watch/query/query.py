"""Queries that filter a list: `loss<2 lr>=1e-4 status:running -smoke`. No I/O.

An item must match every term; `-` before a term negates it. A plain word is searched for in an
item's texts: of a run its name, status, tool and id. A condition is a field, one of
`< <= > >= = != :`, and a value; quotes enclose spaces. A field is one of the schema's (of runs
`fields.FIELDS`) or a key of the item's own values: of a run its configuration (`lora.rank=16`). An
item without a value matches no condition on it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic

from tui_trainer.contracts.runs.run import ACTIVE_STATES, ENDED_STATES
from tui_trainer.text.similar import nearest
from tui_trainer.watch.query.fields import BY_NAME, Item, QueryField, Unit
from tui_trainer.watch.snapshots import RunSummary

_TERM = re.compile(
    r"""(?P<minus>-)?(?:
        (?P<field>[^\W\d][\w./@-]*)\s*(?P<sign><=|>=|!=|==|=|<|>|:)\s*(?P<value>"[^"]*"?|\S*)
        | (?P<word>"[^"]*"?|\S+)
    )""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"([+-]?(?:\d[\d,_]*\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?)\s*([a-z%]*)", re.I)
_FACTORS: dict[Unit, dict[str, float]] = {
    "": {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9},
    "seconds": {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0},
    "share": {"": 1.0, "%": 0.01},
}
_EXAMPLES: dict[Unit, str] = {"": "2 or 1e-4", "seconds": "90, 5min, 2h or 3d", "share": "5%"}

RUNNING = ACTIVE_STATES - {"paused"}
_GROUPS: dict[str, frozenset[str]] = {
    "running": RUNNING,
    "live": ACTIVE_STATES,
    "active": ACTIVE_STATES,
    "ended": ENDED_STATES | {"crashed", "recorded"},
}
_STATES = sorted(
    ACTIVE_STATES | ENDED_STATES
    | {"idle", "crashed", "unknown", "stale", "recorded", "unreadable"}
)  # fmt: skip


@dataclass(frozen=True)
class QueryTerm:
    """One term of a query."""

    field: str  # empty for a plain word
    sign: str  # the comparison
    text: str  # the value, in lower case
    number: float | None = None  # the value as a number in the field's unit, if it is one
    negated: bool = False
    key: bool = False  # the field is a key of the configuration


@dataclass(frozen=True)
class QuerySchema(Generic[Item]):
    """What can be asked about the items of a list."""

    fields: Mapping[str, QueryField[Item]]  # by name and alias
    text: Callable[[Item], str]  # where plain words are searched
    groups: Callable[[Item], Collection[str]] = lambda _: ()  # whole words that match it too
    only_numbers: bool = False  # whether the items' own values are all numbers


@dataclass(frozen=True)
class ItemQuery(Generic[Item]):
    """A parsed query."""

    schema: QuerySchema[Item]
    terms: tuple[QueryTerm, ...] = ()
    problem: str | None = None  # why it could not be parsed, one sentence

    @property
    def needs_config(self) -> bool:
        """Whether a term is about an item's own values."""
        return any(term.key for term in self.terms)

    def may_continue(self, names: Iterable[str]) -> bool:
        """Whether the last term is a word with which one of `names` starts: perhaps a condition
        that is still being typed."""
        last = self.terms[-1] if self.terms else None
        return last is not None and not last.field and any(n.startswith(last.text) for n in names)

    def matches(
        self, item: Item, now: float = 0.0, config: Mapping[str, Any] | None = None
    ) -> bool:
        """Whether an item matches every term at `now`, in seconds since the epoch; `config` has
        its own values."""
        return all(
            _term_matches(term, self.schema, item, now, config) != term.negated
            for term in self.terms
        )


def in_effect(
    typed: ItemQuery[Item],
    text: str,
    names: Iterable[str],
    matches_any: Callable[[ItemQuery[Item]], bool],
) -> tuple[ItemQuery[Item], str]:
    """Return the query that a list is filtered by while its conditions are typed, and its text:
    without a last word that matches nothing and with which one of `names` starts."""
    text = text.strip()
    if not typed.may_continue(names) or matches_any(typed):
        return typed, text
    return ItemQuery(typed.schema, typed.terms[:-1]), text.rpartition(" ")[0]


def _run_text(run: RunSummary) -> str:
    state = f"{run.shown_status}\n{run.status}\n{run.status.replace('_', '-')}"
    return f"{run.name}\n{state}\n{run.tool}\n{run.id}"


def _run_groups(run: RunSummary) -> list[str]:
    return [group for group, states in _GROUPS.items() if run.status in states]


RUNS = QuerySchema(BY_NAME, _run_text, _run_groups)


class Query(ItemQuery[RunSummary]):
    """A parsed query about runs."""

    def __init__(self, terms: tuple[QueryTerm, ...] = (), problem: str | None = None) -> None:
        super().__init__(RUNS, terms, problem)


def parse(text: str, keys: Collection[str] = ()) -> Query:
    """Parses a query about runs; never raises. `keys` are the known keys of configurations."""
    parsed = parse_for(RUNS, text, keys)
    return Query(parsed.terms, parsed.problem)


def parse_for(schema: QuerySchema[Item], text: str, keys: Collection[str] = ()) -> ItemQuery[Item]:
    """Parses a query; never raises. `keys` are the known names of the items' own values."""
    terms = []
    for found in _TERM.finditer(text):
        if found["word"] is not None:
            word = _without_quotes(found["word"])
            if word:
                negated = found["minus"] is not None
                terms.append(QueryTerm("", ":", word.casefold(), negated=negated))
            continue
        term = _condition(found, schema, keys)
        if isinstance(term, str):
            return ItemQuery(schema, (), term)
        terms.append(term)
    return ItemQuery(schema, tuple(terms))


def _condition(
    found: re.Match[str], schema: QuerySchema[Item], keys: Collection[str]
) -> QueryTerm | str:
    name, sign, value = found["field"], found["sign"], _without_quotes(found["value"])
    sign = "=" if sign == "==" else sign
    negated = found["minus"] is not None
    field = schema.fields.get(name.casefold())
    if field is None:
        if name not in keys and ("." not in name or keys):
            return _unknown(name, schema, keys)
        number = _number(value, "")
        if number is None and schema.only_numbers:
            return _not_a_number(name, sign, value, "")
        return QueryTerm(name, sign, value.casefold(), number, negated, True)
    if field.number is None:
        return _text_condition(field, name, sign, value, negated)
    number = _number(value, field.unit)
    if number is None:
        return _not_a_number(name, sign, value, field.unit)
    return QueryTerm(field.name, sign, value.casefold(), number, negated)


def _not_a_number(name: str, sign: str, value: str, unit: Unit) -> str:
    got = f", not {value!r}" if value else ""
    return f"{name}{sign} needs a number{got}, such as {_EXAMPLES[unit]}"


def _text_condition(
    field: QueryField[Item], name: str, sign: str, value: str, negated: bool
) -> QueryTerm | str:
    if sign not in (":", "=", "!="):
        return f"{name} is text: write {name}:{value or 'TEXT'} (contains) or {name}={value}"
    text = value.casefold()
    if field.name == "status" and text:
        text = text.replace("-", "_")
        states = [*_STATES, *_GROUPS]
        if not any(text in state for state in states):
            guess = nearest(text, states)
            hint = f"did you mean {guess}?" if guess else f"known are {', '.join(states)}"
            return f"{value!r} is not a run status; {hint}"
        if not any(text in state for state in _STATES):
            text = next(group for group in _GROUPS if text in group)
    return QueryTerm(field.name, sign, text, None, negated)


def _unknown(name: str, schema: QuerySchema[Item], keys: Collection[str]) -> str:
    """The message on an unknown field, with the nearest known one."""
    ending = [key for key in keys if key.rpartition(".")[2] == name]
    guess = ending[0] if len(ending) == 1 else nearest(name, [*schema.fields, *keys])
    names = dict.fromkeys(field.name for field in schema.fields.values())
    hint = f"did you mean {guess}?" if guess else f"known are {', '.join(names)}"
    return f"there is no field {name!r}; {hint}"


def _term_matches(
    term: QueryTerm,
    schema: QuerySchema[Item],
    item: Item,
    now: float,
    config: Mapping[str, Any] | None,
) -> bool:
    if term.key:
        value = None if config is None else config.get(term.field)
        return value is not None and _value_matches(term, value)
    if not term.field:
        return term.text in schema.text(item).casefold() or term.text in schema.groups(item)
    field = schema.fields[term.field]
    if field.number is not None:
        number = field.number(item, now)
        known = number is not None and math.isfinite(number) and term.number is not None
        return known and _satisfies(term.sign, float(number or 0.0), term.number or 0.0)
    values = [value.casefold() for value in field.values(item)]
    if term.field == "status" and term.text in _GROUPS:
        return (values[0] in _GROUPS[term.text]) != (term.sign == "!=")
    if term.sign == ":":
        return any(term.text in value for value in values)
    return (term.text in values) == (term.sign == "=")


def _value_matches(term: QueryTerm, value: Any) -> bool:
    """Whether a value of the configuration satisfies a term, compared as numbers if both are."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if plain and term.number is not None:
        return _satisfies(term.sign, float(value), term.number)
    if term.sign not in (":", "=", "!="):
        return False
    listed = isinstance(value, list | tuple)
    text = ", ".join(map(str, value)) if listed else str(value)
    return _same_text(term, text.casefold())


def _same_text(term: QueryTerm, text: str) -> bool:
    if term.sign == ":":
        return term.text in text
    return (term.text == text) == (term.sign == "=")


def _satisfies(sign: str, value: float, asked: float) -> bool:
    equal = math.isclose(value, asked, rel_tol=1e-9, abs_tol=0.0)
    if sign in ("=", ":", "!="):
        return equal != (sign == "!=")
    if equal:
        return sign in ("<=", ">=")
    return value < asked if sign[0] == "<" else value > asked


def _number(text: str, unit: Unit) -> float | None:
    found = _NUMBER.fullmatch(text.strip())
    factor = _FACTORS[unit].get(found[2].casefold()) if found else None
    if found is None or factor is None:
        return None
    try:
        value = float(found[1].replace(",", "").replace("_", "")) * factor
    except ValueError:  # misplaced underscores, or digits of other scripts
        return None
    return value if math.isfinite(value) else None


def _without_quotes(text: str) -> str:
    if text.startswith('"'):
        return text[1:-1] if len(text) > 1 and text.endswith('"') else text[1:]
    return text
