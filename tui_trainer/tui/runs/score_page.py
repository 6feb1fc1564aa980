"""The page of a run's details with its scores: of evaluations on files, and by class. No I/O."""

from __future__ import annotations

from pathlib import Path

from textual.content import Content

from tui_trainer.contracts.evaluation import (
    ChangedItem,
    EvaluatedItem,
    EvaluationReport,
    ScoreComparison,
    Verdict,
)
from tui_trainer.evaluation.metrics import change_text, value_text
from tui_trainer.evaluation.report import worst_first
from tui_trainer.store.runs.evaluation_files import unreadable_text
from tui_trainer.text import formats
from tui_trainer.tui.common.markup import beside, plain, wrapped
from tui_trainer.tui.runs import evaluation_pages
from tui_trainer.tui.runs.details_pages import page
from tui_trainer.watch.runs.details.run_details import RunDetails

_MOST_ROWS = 20  # of each kind: lost, won, worst
_MOST_CLASSES = 40
_NAME = 30  # cells of a class's or model's name
_GAP = "  "
_LABEL = 10  # cells before the texts of a row
_STYLES: dict[Verdict, str] = {"better": "$success", "worse": "$warning"}


def count(known: RunDetails) -> int:
    """How many evaluations the page has: those on files, and that of the classes in training."""
    return len(known.reports) + (known.evaluation is not None)


def scores(known: RunDetails, width: int, back: int = 0) -> Content:
    """One evaluation, `back` before the newest one on a file; that of the classes in training comes
    last."""
    unreadable: list[Content] = []
    if known.unreadable_reports:
        text = unreadable_text(known.unreadable_reports)
        unreadable = list(wrapped(plain(text, "$warning"), width))
    total = count(known)
    if not total:
        return page([*unreadable, *wrapped(Content.styled(_why_none(known), "$faint"), width)])
    at = min(back, total - 1)
    lines = [*unreadable]
    if total > 1:
        which = f"evaluation {formats.count(total - at)} of {formats.count(total)}"
        lines.append(Content.assemble((which, "bold"), ("   [ earlier  ] later", "$faint")))
    if at == len(known.reports):
        return page([*lines, evaluation_pages.classes(known, width)])
    return page([*lines, *_report(known.reports[at], width)])


def _why_none(known: RunDetails) -> str:
    run = known.view.summary
    if not run.ours:
        return f"no scores: {formats.clean(run.tool)} does not record them"
    if known.view.config.get("task") == "classification":
        return "no scores yet: those of the classes come with the first evaluation"
    return f"no scores: tui-trainer evaluate {formats.clean(run.id)} --data FILE measures them"


def _report(report: EvaluationReport, width: int) -> list[Content]:
    files = ", ".join(Path(file).name for file in report.files)
    about = f"{files}: {formats.plural(report.rows, 'row')}, {formats.moment(report.time)}"
    lines = [
        *wrapped(Content.assemble(plain(report.name, "bold $accent"), "  ", plain(about)), width),
        *(line for text in report.notices for line in wrapped(plain(text, "$warning"), width)),
        Content(""),
        *_metrics(report, width),
    ]
    if report.classes:
        lines += [Content(""), *_classes(report, width)]
    if report.against is not None:
        lines += _changed("lost", report.against.lost, width)
        lines += _changed("won", report.against.won, width)
    return lines + _worst(report, width)


def _metrics(report: EvaluationReport, width: int) -> list[Content]:
    """The metrics, beside those of the other model where there is one."""
    if report.against is None:
        return [
            Content.assemble((f"{name:<16}", "$faint"), value_text(name, value))
            for name, value in report.metrics.items()
        ]
    other = report.against
    title = f"{'metric':<16}{'this run':>10}{'other':>10}{'change':>11}"
    against = plain(f"other: {other.target}", "$faint")
    lines = [*wrapped(against, width), Content.styled(title, "$faint")]
    return lines + [_beside_other(name, value, other) for name, value in report.metrics.items()]


def _beside_other(name: str, value: float | None, other: ScoreComparison) -> Content:
    theirs = other.metrics.get(name)
    change = formats.MISSING
    if value is not None and theirs is not None:
        change = change_text(name, value - theirs)
    verdict = next((test.verdict for test in other.tests if test.metric == name), None)
    return Content.assemble(
        (f"{name:<16}", "$faint"),
        f"{value_text(name, value):>10}{value_text(name, theirs):>10}{change:>11}{_GAP}",
        (verdict or "", _STYLES.get(verdict, "$faint") if verdict else ""),
    )


def _classes(report: EvaluationReport, width: int) -> list[Content]:
    """Every class, the lowest F1 first."""
    present = [one for one in report.classes if one.support or one.precision]
    present.sort(key=lambda one: (one.f1, one.label))
    wide = min(_NAME, max(5, width - 40), max(map(len, (one.label for one in present)), default=5))
    lines = [
        Content.styled(f"{'class':<{wide}}     F1  precision  recall  rows", "$faint"),
    ]
    for one in present[:_MOST_CLASSES]:
        figures = f"  {one.f1:>5.3f}  {one.precision:>9.3f}  {one.recall:>6.3f}"
        name = plain(one.label).truncate(wide, ellipsis=True, pad=True)
        lines.append(Content.assemble(name, f"{figures}  {formats.count(one.support):>4}"))
    return [*lines, *_more(len(present) - _MOST_CLASSES, "class", "classes")]


def _changed(title: str, items: list[ChangedItem], width: int) -> list[Content]:
    """The rows that only one of the two models has right."""
    if not items:
        return []
    lines = [Content(""), Content.styled(f"{title}: {formats.plural(len(items), 'row')}", "bold")]
    for item in items[:_MOST_ROWS]:
        texts = (("expected", item.reference), ("other", item.before), ("this run", item.after))
        lines += _row(item.where, item.question, texts, width)
    return [*lines, *_more(len(items) - _MOST_ROWS, "row", "rows")]


def _worst(report: EvaluationReport, width: int) -> list[Content]:
    """The rows that are answered wrongly, the worst first."""
    wrong: list[EvaluatedItem] = [
        item for item in worst_first(report.items) if item.answer is not None and not item.right
    ]
    if not wrong:
        return []
    heading = f"wrong: {formats.plural(len(wrong), 'row')}, the worst first"
    lines = [Content(""), Content.styled(heading, "bold")]
    for item in wrong[:_MOST_ROWS]:
        texts = (("expected", item.reference), ("this run", item.answer))
        lines += _row(item.where, item.question, texts, width)
    return [*lines, *_more(len(wrong) - _MOST_ROWS, "row", "rows")]


def _row(
    where: str, question: str, texts: tuple[tuple[str, str | None], ...], width: int
) -> list[Content]:
    lines = wrapped(Content.assemble(plain(where, "$faint"), _GAP, plain(_line(question))), width)
    for label, text in texts:
        head = Content.styled(f"  {label:<{_LABEL}}", "$faint")
        lines += beside(head, plain(_line(text or formats.MISSING)), width)
    return lines


def _line(text: str) -> str:
    return formats.one_line(text, 300)


def _more(left: int, word: str, words: str) -> list[Content]:
    if left <= 0:
        return []
    text = formats.plural(left, f"more {word}", f"more {words}")
    return [Content.styled(f"and {text}", "$faint")]
