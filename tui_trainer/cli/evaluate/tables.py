"""The tables of an evaluation: metrics, classes, rows side by side, and the gate's decision."""

from __future__ import annotations

from tui_trainer.cli.common import output
from tui_trainer.contracts.evaluation import ChangedItem, EvaluatedItem, EvaluationReport, Paired
from tui_trainer.evaluation.gate import GateReport
from tui_trainer.evaluation.metrics import change_text, value_text
from tui_trainer.evaluation.report import worst_first
from tui_trainer.text import formats
from tui_trainer.text.formats import MISSING

_CELL = 36  # characters of a text in a table
_MOST_CLASSES = 20  # in the table of classes
_MOST_MATRIX = 12  # classes of a confusion matrix that is printed
_MOST_CONFUSED = 10  # pairs of classes
_MOST_CHANGED = 20  # lost or won rows


def print_metrics(report: EvaluationReport) -> None:
    """Print the metrics, beside those of another model where there is one."""
    against = report.against
    if against is None:
        metrics = report.metrics.items()
        output.data(output.pairs([(name, value_text(name, v)) for name, v in metrics]))
        return
    tests = {found.metric: found for found in against.tests}
    rows = []
    for name, mine in report.metrics.items():
        other = against.metrics.get(name)
        known = mine is not None and other is not None
        change = MISSING
        if mine is not None and other is not None:
            change = change_text(name, mine - other)
        test = tests.get(name)
        verdict = f"{test.verdict} ({test.test})" if test is not None and known else ""
        rows.append([name, value_text(name, mine), value_text(name, other), change, verdict])
    output.data(output.table(("metric", report.target, against.target, "change", "test"), rows))


def print_classes(report: EvaluationReport) -> None:
    """Print the scores by class, the worst F1 first, and what is confused with what."""
    present = [found for found in report.classes if found.support or found.precision]
    present.sort(key=lambda found: (found.f1, found.label))
    rows = [
        [
            cell(found.label),
            formats.score(found.precision),
            formats.score(found.recall),
            formats.score(found.f1),
            formats.count(found.support),
        ]
        for found in present[:_MOST_CLASSES]
    ]
    output.data("")
    output.data(output.table(("class, worst first", "precision", "recall", "F1", "rows"), rows))
    more = len(present) - _MOST_CLASSES
    if more > 0:
        output.data(f"and {formats.plural(more, 'more class', 'more classes')}; --json has all")
    if len(report.labels) <= _MOST_MATRIX:
        _print_matrix(report)
    else:
        _print_confused(report)


def _print_matrix(report: EvaluationReport) -> None:
    headers = ("true \\ predicted", *(cell(label, 14) for label in report.labels))
    rows = [
        [cell(label, 14), *(formats.count(number) for number in counts)]
        for label, counts in zip(report.labels, report.confusion, strict=True)
    ]
    output.data("")
    output.data(output.table([formats.escape(header) for header in headers], rows))


def _print_confused(report: EvaluationReport) -> None:
    found = [
        (count, report.labels[i], report.labels[j])
        for i, counts in enumerate(report.confusion)
        for j, count in enumerate(counts)
        if i != j and count
    ]
    if not found:
        return
    found.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    rows = [[formats.count(n), cell(a), cell(b)] for n, a, b in found[:_MOST_CONFUSED]]
    output.data("")
    output.data(output.table(("rows", "of class", "predicted as"), rows))


def print_rows(report: EvaluationReport, against: EvaluationReport | None, most: int) -> None:
    """Print the rows, the worst first, beside the answers of another model where there is one."""
    answered = [item for item in report.items if item.answer is not None]
    if not answered or not most:
        return
    others = {item.where: item for item in against.items} if against is not None else {}
    rows = []
    for item in worst_first(answered)[:most]:
        row = [item.where, cell(item.question), cell(item.reference or ""), cell(item.answer or "")]
        if against is not None:
            other = others.get(item.where)
            row.append(cell(other.answer or "") if other is not None else MISSING)
        row.append(_mark(item))
        rows.append(row)
    headers = ["row, worst first", "question", "expected", formats.escape(report.target)]
    if against is not None:
        headers.append(formats.escape(against.target))
    output.data("")
    output.data(output.table([*headers, "score"], rows))
    more = len(answered) - len(rows)
    if more > 0:
        output.data(f"and {formats.plural(more, 'more row')}; --rows N shows them, --json all")


def _mark(item: EvaluatedItem) -> str:
    """Whether a row is right, and how near its answer is or how sure its class."""
    mark = "right" if item.right else "wrong"
    near = item.scores.get("token_f1", item.scores.get("probability"))
    return mark if near is None else f"{mark}, {formats.score(near)}"


def print_gate(gate: GateReport) -> None:
    """Print what is lost and won, and the decision."""
    for title, items in (("lost", gate.lost), ("won", gate.won)):
        if items:
            output.data("")
            rows = [_changed_row(item) for item in items[:_MOST_CHANGED]]
            headers = (title, "question", "expected", "before", "after")
            output.data(output.table(headers, rows))
            more = len(items) - _MOST_CHANGED
            if more > 0:
                output.data(f"and {formats.plural(more, 'more row')}; --json has all")
    if gate.aggregates:
        rows = [_aggregate_row(found) for found in gate.aggregates]
        columns = ("aggregate", "before", "after", "change", "test", "evidence", "verdict")
        output.data("")
        output.data(output.table(columns, rows))
    output.data("")
    for text in gate.notices:
        output.data(f"not blocked: {formats.escape(text)}")
    if gate.passed:
        output.data("gate: passed")
    for text in gate.blocked:
        output.data(f"gate: blocked: {formats.escape(text)}")


def _changed_row(item: ChangedItem) -> list[str]:
    where = f"{item.where} (golden)" if item.golden else item.where
    texts = (item.question, item.reference or "", item.before or "", item.after or "")
    return [where, *(cell(text) for text in texts)]


def _aggregate_row(found: Paired) -> list[str]:
    if found.p is not None:
        evidence = f"p = {formats.number(found.p, 2)}; {found.lost} lost, {found.won} won"
    else:
        low, high = (change_text(found.metric, end or 0.0) for end in (found.low, found.high))
        evidence = f"{low} to {high}"
    return [
        f"{found.metric} of {formats.plural(found.items, 'item')}",
        formats.score(found.before),
        formats.score(found.after),
        change_text(found.metric, found.change),
        found.test,
        evidence,
        found.verdict,
    ]


def cell(text: str, longest: int = _CELL) -> str:
    """A text in one line of a table."""
    return formats.one_line(text, longest)
