"""The page of a run's details with its answers to the sample prompts. No I/O."""

from __future__ import annotations

import difflib
import re

from textual.content import Content

from tui_trainer.contracts.runs.samples import SampleRecord
from tui_trainer.text import formats
from tui_trainer.tui.common.markup import plain, wrapped
from tui_trainer.tui.runs.details_pages import page
from tui_trainer.watch.runs.details.run_details import RunDetails
from tui_trainer.watch.runs.details.sample_answers import SampledStep

_LEAST_BESIDE = 60  # cells; below, the texts of a prompt stand one below the other
_GAP = 2
_ADDED, _REMOVED = "bold underline $success", "strike $warning"
# Words, white space and signs; of scripts without spaces, single characters.
_PART = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\W\u2e80-\u9fff]+|\s+|.", re.S)


def count(known: RunDetails) -> int:
    """How many evaluations the page has."""
    return len(known.samples)


def samples(known: RunDetails, width: int, back: int = 0) -> Content:
    """The answers of one evaluation beside those of the one before; `back` evaluations before the
    newest one."""
    evaluations = known.samples
    if not evaluations:
        return Content.styled(_why_none(known), "$faint")
    at = len(evaluations) - 1 - min(back, len(evaluations) - 1)
    now, before = evaluations[at], evaluations[at - 1] if at else None
    lines = [*_wrap(_heading(now, at + 1, len(evaluations)), width), Content("")]
    widths = _widths(width)
    if widths is not None:
        titles = ("prompt", _title(now), "no evaluation before" if before is None else
                  f"before: {_title(before)}")  # fmt: skip
        lines += _beside([plain(title, "$faint") for title in titles], widths)
    for number in sorted(now.answers):
        answer = now.answers[number]
        former = None if before is None else before.answers.get(number)
        lines += [*_prompt_lines(answer, former, widths, width), Content("")]
    return page(lines[:-1])


def _why_none(known: RunDetails) -> str:
    run = known.view.summary
    if not run.ours:
        return f"no sample answers: {formats.clean(run.tool)} does not record them"
    if known.view.config.get("samples.prompts"):
        return "no sample answers yet: the prompts are answered at each evaluation"
    return 'no sample prompts: a job with  [samples] prompts = ["…"]  has answers here'


def _heading(now: SampledStep, number: int, count: int) -> Content:
    """Which evaluation is shown."""
    return Content.assemble(
        (f"evaluation {formats.count(number)} of {formats.count(count)}", "bold"),
        f"  step {formats.count(now.step)}, epoch {formats.number(now.epoch, 3)}, "
        f"{formats.clock(now.time)}",
        ("   [ earlier  ] later", "$faint"),
    )


def _title(one: SampledStep) -> str:
    return f"step {formats.count(one.step)}" + (" (base)" if one.step == 0 else "")


def _widths(width: int) -> tuple[int, int, int] | None:
    """Cells of prompt, answer and former answer; None where they do not fit side by side."""
    if width < _LEAST_BESIDE:
        return None
    answer = (width - 2 * _GAP) * 3 // 8
    return width - 2 * _GAP - 2 * answer, answer, answer


def _prompt_lines(
    answer: SampleRecord,
    former: SampleRecord | None,
    widths: tuple[int, int, int] | None,
    width: int,
) -> list[Content]:
    """One prompt with its answers."""
    new, old = _marked(answer.answer, None if former is None else former.answer)
    new = Content("\n").join([new, Content.styled(_size(answer, former), "$faint")])
    prompt = _text(answer.prompt, "bold")
    if widths is not None:
        return _beside([prompt, new, old], widths)
    parts = [prompt, new] if former is None else [prompt, new, plain("before:", "$faint"), old]
    return [line for part in parts for line in _wrap(part, width)]


def _size(answer: SampleRecord, former: SampleRecord | None) -> str:
    """Length of an answer, and what became of it."""
    text = formats.plural(answer.tokens, "token")
    if answer.finish == "length":
        text += ", cut"
    return text + (", unchanged" if former is not None and former.answer == answer.answer else "")


def _marked(new: str, old: str | None) -> tuple[Content, Content]:
    """Both answers, with what differs marked in each."""
    if old is None or new == old:
        return _text(new), Content("") if old is None else _text(old)
    ours, theirs = _PART.findall(new), _PART.findall(old)
    added, removed = Content(""), Content("")
    matcher = difflib.SequenceMatcher(None, theirs, ours, autojunk=False)
    for kind, start, end, first, last in matcher.get_opcodes():
        same = kind == "equal"
        removed += _text("".join(theirs[start:end]), "" if same else _REMOVED)
        added += _text("".join(ours[first:last]), "" if same else _ADDED)
    return added, removed


def _text(text: str, style: str = "") -> Content:
    """Text from a model or a user, escaped line by line."""
    return Content("\n").join([plain(line, style) for line in text.split("\n")])


def _wrap(content: Content, width: int) -> list[Content]:
    return [line for part in content.split("\n") for line in wrapped(part, width)]


def _beside(texts: list[Content], widths: tuple[int, int, int]) -> list[Content]:
    """Texts in columns."""
    columns = [_wrap(text, width) for text, width in zip(texts, widths, strict=True)]
    lines = []
    for at in range(max(map(len, columns))):
        cells = [
            (column[at] if at < len(column) else Content("")).truncate(width, pad=True)
            for column, width in zip(columns, widths, strict=True)
        ]
        lines.append(Content(" " * _GAP).join(cells).rstrip())
    return lines
