"""Evaluation of a model on a file: losses, answers and classes, each appended to a journal."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.nn import functional

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import (
    EvaluationProgress,
    EvaluationRequest,
    JournalAnswer,
    JournalClass,
    JournalItem,
    JournalLine,
    JournalLoss,
    JournalStart,
)
from tui_trainer.contracts.runs.metrics import finite_or_none
from tui_trainer.engine.data import batching
from tui_trainer.engine.data.dataset import refused_rows
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.data.row_formats import read_rows
from tui_trainer.engine.data.rows import Message, ReadRows, Row
from tui_trainer.engine.data.tokens import encoding
from tui_trainer.engine.data.tokens.token_arrays import Tokens
from tui_trainer.engine.measure import training_rows
from tui_trainer.engine.measure.load import LoadedModel, load_classifier, load_writer
from tui_trainer.evaluation import golden, journal
from tui_trainer.evaluation.journal import Journal
from tui_trainer.evaluation.report import check_answers
from tui_trainer.models import base_model
from tui_trainer.store import atomic
from tui_trainer.text import formats

Report = Callable[[EvaluationProgress], None]
Append = Callable[[Sequence[JournalLine]], None]

PASS_TOKENS = 2_048  # of one forward pass, with padding: logits take most of its memory
LONGEST = 2_048  # tokens of a row in the loss, unless another length is given
ANSWERS_AT_ONCE = 32  # after so many answers they are in the journal


def measure(request: EvaluationRequest, report: Report) -> None:
    """Measure what the journal lacks. Raises `UserError`."""
    file = Path(request.journal)
    if request.max_length is None:
        context = base_model.context_of(request.model, request.trust_remote_code)
        request = msgspec.structs.replace(request, max_length=min(context or LONGEST, LONGEST))
    rows, notices = _rows(request)
    done = journal.read(file)
    tokenizer = base_model.load_tokenizer(
        request.model, trust_remote_code=request.trust_remote_code
    )
    rows, tokens = _tokenise(rows, request, tokenizer, notices)
    examples = _examples(rows, request, tokens)
    if tokens.longer and request.losses:
        notices.append(
            f"{formats.plural(tokens.longer, 'row')} longer than "
            f"{formats.count(request.max_length)} tokens: cut at the end for the loss"
        )
    with atomic.appending(file) as lines:
        if not done.begun:
            notices += training_rows.shared(
                rows,
                request.trained_on,
                labelled=request.task == "classification",
                columns=request.columns,
            )
            lines.append_all([JournalStart(rows=len(rows), notices=notices), *_items(rows)])
            for row, item in enumerate(_items(rows)):
                done.items[row] = item
        check_answers(done, request.needs_answers, ", ".join(Path(f).name for f in request.files))
        if request.task == "classification":
            _classify(request, rows, examples, done, tokenizer, lines.append_all, report)
            return
        losses = [row for row in dict(examples) if row not in done.losses] if request.losses else []
        asked = [row for row, item in done.items.items() if item.reference is not None]
        answers = [row for row in asked if row not in done.answers] if request.answers else []
        if not losses and not answers:
            return
        loaded = load_writer(request, tokenizer)
        if losses:
            _measure_losses(loaded, rows, examples, losses, lines.append_all, report)
        if answers:
            _write_answers(loaded, request, rows, answers, len(asked), lines.append_all, report)


def _rows(request: EvaluationRequest) -> tuple[list[Row], list[str]]:
    """Return the rows to measure, and a sentence for what is left out. Raises `UserError`."""
    files = [Path(file) for file in request.files]
    if request.golden:
        found = [row for file in files for row in _golden_rows(file)]
        notices: list[str] = []
    else:
        labelled = request.task == "classification"
        read = read_rows(files, labelled=labelled, columns=request.columns)
        found, notices = list(read.found), _left_out(read)
    if request.limit is not None and request.limit < len(found):
        notices.append(
            f"only the first {formats.plural(request.limit, 'row')} of "
            f"{formats.count(len(found))} are measured (--limit)"
        )
        found = found[: request.limit]
    if request.task == "classification" and not any(r.label in request.labels for r in found):
        known = ", ".join(request.labels[:5])
        raise UserError(
            f"{', '.join(file.name for file in files)}: no row has a class that the model was "
            f"trained on ({known}{', …' if len(request.labels) > 5 else ''}); its first class is "
            f"{found[0].label!r}"
        )
    return found, notices


def _golden_rows(file: Path) -> Iterator[Row]:
    for number, item in enumerate(golden.read(file), start=1):
        turns = (Message("user", item.question), Message("assistant", item.answer))
        yield Row(turns, None, 1.0, f"{file.name} item {number}", group="\n".join(item.facts))


def _left_out(rows: ReadRows) -> list[str]:
    return [f"{formats.plural(out.rows, 'row')} left out: {out.text()}" for out in rows.left_out]


def _items(rows: Sequence[Row]) -> list[JournalItem]:
    """Return the rows as the journal has them; a text without a question has no reference."""
    found = []
    for number, row in enumerate(rows):
        question, reference = row.text or "", row.label
        last = _last_answer(row)
        if last is not None:
            turns = row.messages[:last]
            question = turns[-1].content if turns else ""
            reference = row.messages[last].content if turns else None
        facts = [fact for fact in row.group.split("\n") if fact] if last is not None else []
        found.append(
            JournalItem(
                row=number, where=row.where, question=question, reference=reference, facts=facts
            )
        )
    return found


def _last_answer(row: Row) -> int | None:
    """Return the index of the last turn that is learned: the answer that is asked for."""
    turns = [at for at, turn in enumerate(row.messages) if turn.role == "assistant"]
    learned = [at for at in turns if row.messages[at].learned]
    return learned[-1] if learned else None


def _tokenise(
    rows: list[Row], request: EvaluationRequest, tokenizer: Any, notices: list[str]
) -> tuple[list[Row], Tokens]:
    """Return the rows that the base's chat template can write, with their tokens; add a notice for
    the others. Raises `UserError` where there are none."""
    longest = request.max_length or LONGEST
    if request.task == "classification":
        return rows, encoding.tokenise_texts([row.text or "" for row in rows], tokenizer, longest)
    tokens = encoding.tokenise_rows(rows, tokenizer, longest)
    if not tokens.refused:
        return rows, tokens
    reasons = refused_rows(rows, tokens.refused)
    names = ", ".join(Path(file).name for file in request.files)
    if len(tokens.refused) == len(rows):
        raise UserError(
            f"{names}: no row can be used with this base: {'; '.join(r.text() for r in reasons)}"
        )
    notices += [f"{formats.plural(out.rows, 'row')} left out: {out.text()}" for out in reasons]
    left_out = {number for number, _ in tokens.refused}
    kept = [row for number, row in enumerate(rows) if number not in left_out]
    return kept, encoding.tokenise_rows(kept, tokenizer, longest)


def _examples(
    rows: Sequence[Row], request: EvaluationRequest, tokens: Tokens
) -> list[tuple[int, Example]]:
    """Return the examples of the rows that have something to predict, with the rows' numbers; a
    row may have several."""
    indices = {label: index for index, label in enumerate(request.labels)}
    labelled = request.task == "classification"
    return [
        (
            number,
            Example(
                ids,
                learned,
                rows[number].weight,
                indices.get(rows[number].label or "", -1) if labelled else None,
            ),
        )
        for number, ids, learned in zip(tokens.rows, tokens.ids, tokens.learned, strict=True)
    ]


def _passes(numbered: Sequence[tuple[int, Example]]) -> Iterator[list[tuple[int, Example]]]:
    """Yield groups of examples of similar length for one forward pass each, the longest first."""
    group: list[tuple[int, Example]] = []
    for item in sorted(numbered, key=lambda pair: -len(pair[1].input_ids)):
        longest = len(group[0][1].input_ids) if group else 0
        if group and longest * (len(group) + 1) > PASS_TOKENS:
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _measure_losses(
    loaded: LoadedModel,
    rows: Sequence[Row],
    examples: Sequence[tuple[int, Example]],
    wanted: Sequence[int],
    append: Append,
    report: Report,
) -> None:
    """Measure the cross-entropy of every learned token, as `transformers` does."""
    total = len(dict(examples))
    done = total - len(wanted)
    report(EvaluationProgress(phase="losses", done=done, total=total))
    chosen = set(wanted)
    missing = Counter(row for row, _ in examples if row in chosen)  # examples of each row
    measured: dict[int, list[tuple[list[float], int]]] = defaultdict(list)  # losses and hits
    for group in _passes([item for item in examples if item[0] in chosen]):
        batch = batching.collate([e for _, e in group], loaded.pad, loaded.device)
        with torch.no_grad():
            logits = loaded.model(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
            ).logits
        picked = logits.flatten(0, 1)[batch.positions].float()
        losses = functional.cross_entropy(picked, batch.targets, reduction="none").double().tolist()
        hits = (picked.argmax(dim=-1) == batch.targets).tolist()
        ends = list(itertools.accumulate(example.learned_count() for _, example in group))
        lines = []
        for (row, example), end in zip(group, ends, strict=True):
            own = slice(end - example.learned_count(), end)
            measured[row].append((losses[own], sum(hits[own])))
            if len(measured[row]) < missing[row]:
                continue
            parts = measured.pop(row)
            lines.append(
                JournalLoss(
                    row=row,
                    loss=finite_or_none(math.fsum(x for part, _ in parts for x in part)),
                    tokens=sum(len(part) for part, _ in parts),
                    hits=sum(hit for _, hit in parts),
                    weight=rows[row].weight,
                )
            )
        append(lines)
        done += len(lines)
        report(EvaluationProgress(phase="losses", done=done, total=total))


def _write_answers(
    loaded: LoadedModel,
    request: EvaluationRequest,
    rows: Sequence[Row],
    wanted: Sequence[int],
    total: int,
    append: Append,
    report: Report,
) -> None:
    """Generate greedy answers in batches of similar length, each in the journal when it is done."""
    generator = loaded.generator
    assert generator is not None  # noqa: S101
    prompts = {}
    for row in wanted:
        turns = rows[row].messages[: _last_answer(rows[row])]
        try:
            prompts[row] = generator.fit(turns, request.max_new_tokens, rows[row].tools)
        except UserError as error:
            raise UserError(f"{rows[row].where}: {error}") from error
    order = sorted(wanted, key=lambda row: len(prompts[row].input_ids))
    done = total - len(wanted)
    report(EvaluationProgress(phase="answers", done=done, total=total))

    for start in range(0, len(order), ANSWERS_AT_ONCE):
        chosen = order[start : start + ANSWERS_AT_ONCE]
        shown = done

        def between(finished: int, done: int = done) -> bool:
            nonlocal shown
            if done + finished != shown:
                shown = done + finished
                report(EvaluationProgress(phase="answers", done=shown, total=total))
            return False

        texts = generator.write_many([prompts[row] for row in chosen], between)
        assert texts is not None  # noqa: S101  `between` never ends it
        append([JournalAnswer(row=row, answer=t) for row, t in zip(chosen, texts, strict=True)])
        done += len(chosen)
        report(EvaluationProgress(phase="answers", done=done, total=total))


def _classify(
    request: EvaluationRequest,
    rows: Sequence[Row],
    examples: Sequence[tuple[int, Example]],
    done: Journal,
    tokenizer: Any,
    append: Append,
    report: Report,
) -> None:
    wanted = [(row, example) for row, example in examples if row not in done.classes]
    if not wanted:
        return
    loaded = load_classifier(request, tokenizer)
    finished = len(examples) - len(wanted)
    report(EvaluationProgress(phase="classes", done=finished, total=len(examples)))
    for group in _passes(wanted):
        batch = batching.collate([e for _, e in group], loaded.pad, loaded.device)
        with torch.no_grad():
            logits = loaded.model(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask
            ).logits.float()
        log_probabilities = functional.log_softmax(logits, dim=-1).double().cpu()
        lines = []
        for at, (row, example) in enumerate(group):
            own = log_probabilities[at]
            best = int(own.argmax())
            known = example.label is not None and example.label >= 0
            loss = float(-own[example.label]) if known else math.nan
            lines.append(
                JournalClass(
                    row=row,
                    predicted=request.labels[best],
                    probability=float(own[best].exp()),
                    loss=finite_or_none(loss),
                    weight=rows[row].weight,
                )
            )
        append(lines)
        finished += len(group)
        report(EvaluationProgress(phase="classes", done=finished, total=len(examples)))
