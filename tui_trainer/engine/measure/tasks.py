"""Tasks of lm-eval, measured on our loaded model, always with its chat template."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tui_trainer.contracts.errors import UserError, error_text, is_out_of_memory
from tui_trainer.contracts.evaluation import (
    EvaluationProgress,
    TaskItem,
    TaskMetric,
    TaskResult,
    TasksRequest,
)
from tui_trainer.engine.measure.load import load_writer
from tui_trainer.evaluation import tasks
from tui_trainer.models import base_model
from tui_trainer.store import atomic
from tui_trainer.text import formats

Report = Callable[[EvaluationProgress], None]

_BATCH = 8  # requests of one forward pass
_NEAR = 4  # names that are proposed for an unknown one
_NOT_METRICS = ("alias", "name", "sample_len", "sample_count")
_QUESTIONS = ("question", "query", "text", "sentence", "prompt")  # fields of an item, in order
_LONGEST_REASON = 200  # characters of an error of lm-eval
_LONGEST_QUESTION = 2_000  # characters of a prompt that is kept, from its end


def measure(request: TasksRequest, report: Report) -> None:
    """Measure the tasks that the journal lacks; each is in it when it is finished. Raises
    `UserError`."""
    file = Path(request.journal)
    done = {result.asked for result in tasks.read(file)}
    lacking = [name for name in request.tasks if name not in done]
    if not lacking:
        return
    lm_eval, task_manager = _import()
    manager = task_manager(include_path=request.task_files)
    _check_names(lacking, manager.all_tasks)
    tokenizer = base_model.load_tokenizer(
        request.model, trust_remote_code=request.trust_remote_code
    )
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            f"{request.model} has no chat template, with which tasks are always asked; measure it "
            "on a file with --data"
        )
    loaded = load_writer(request, tokenizer)
    model = _lm_of(loaded.model, tokenizer, request, report)
    with atomic.appending(file) as lines:
        for name in lacking:
            model.begin(name)
            try:
                found = lm_eval.simple_evaluate(
                    model=model,
                    tasks=[name],
                    limit=request.limit,
                    apply_chat_template=True,
                    log_samples=True,
                    task_manager=manager,
                )
            except BrokenPipeError:
                raise  # the command that asked has ended
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                raise UserError(_failure(name, error), 1) from error
            lines.append_all(results_of(name, found))


def _import() -> tuple[Any, Any]:
    """Return lm-eval and its `TaskManager`. Raises `UserError` where it is not installed."""
    try:
        import lm_eval
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise UserError(f"{tasks.MISSING} ({error})", 1) from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return lm_eval, TaskManager


def _check_names(wanted: Sequence[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, _NEAR)
        hint = f"the nearest are {', '.join(near)}" if near else "no name is near"
        raise UserError(
            f"lm-eval has no task {name!r}; {hint}; tasks of your own are read from --task-files"
        )


def _failure(name: str, error: Exception) -> str:
    """Return why a task could not be measured, as a sentence."""
    first = formats.one_line(str(error), _LONGEST_REASON)
    kind = type(error).__name__
    if kind == "OfflineModeIsEnabled" or "offline" in first.lower():
        return f"task {name}: its data is not on this machine, and HF_HUB_OFFLINE is set: {first}"
    if isinstance(error, ConnectionError) or kind == "LocalEntryNotFoundError":
        return f"task {name}: its data is not on this machine and cannot be loaded: {first}"
    return f"task {name} cannot be measured: {error_text(error)}"


def _lm_of(model: Any, tokenizer: Any, request: TasksRequest, report: Report) -> Any:
    """Return our model as lm-eval asks for it, which reports how many requests are answered."""
    from lm_eval.models.huggingface import HFLM

    class Reporting(HFLM):  # type: ignore[misc]
        """Counts the answered requests of the present task."""

        def begin(self, task: str) -> None:
            """Begin a task."""
            self._task, self._done, self._total = task, 0, 0
            self.set_cache_hook(self)  # whose `add_partial` is called with every answer
            report(EvaluationProgress(phase=task))

        def add_partial(self, *_: Any) -> None:
            """Count an answered request."""
            self._done = min(self._total, self._done + 1)
            report(EvaluationProgress(phase=self._task, done=self._done, total=self._total))

        def loglikelihood(self, requests: Any, **options: Any) -> Any:
            """Answer requests, see lm-eval."""
            self._total += len(requests)
            return super().loglikelihood(requests, **options)

        def loglikelihood_rolling(self, requests: Any, **options: Any) -> Any:
            """Answer requests, see lm-eval."""
            self._total += len(requests)
            return super().loglikelihood_rolling(requests, **options)

        def generate_until(self, requests: Any, **options: Any) -> Any:
            """Answer requests, see lm-eval."""
            self._total += len(requests)
            return super().generate_until(requests, **options)

        def get_model_info(self) -> dict[str, Any]:
            """Nothing: lm-eval would ask the Hugging Face Hub for the model's revision."""
            return {}

    return Reporting(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=_BATCH,
        max_length=request.max_length,
        trust_remote_code=request.trust_remote_code,
    )


def results_of(asked: str, found: Mapping[str, Any]) -> list[TaskResult]:
    """Return the results of lm-eval for a name that was asked for: a task, or all of a group."""
    results = []
    for task, values in {**found["results"], **found.get("groups", {})}.items():
        better = found.get("higher_is_better", {}).get(task) or {}
        counts = found.get("n-samples", {}).get(task) or {}
        items = _items(task, found.get("samples", {}).get(task) or [])
        results.append(
            TaskResult(
                asked=asked,
                task=task,
                version=str(found.get("versions", {}).get(task, "")),
                rows=int(counts.get("effective", len(items))),
                of=counts.get("original"),
                metrics=_metrics(values, better),
                items=items,
            )
        )
    return results


def _metrics(values: Mapping[str, Any], better: Mapping[str, Any]) -> dict[str, TaskMetric]:
    """Return the metrics of a task by name; lm-eval's keys are "metric,filter"."""
    found = {}
    for key, value in values.items():
        metric, _, filtered = key.partition(",")
        if metric in _NOT_METRICS or metric.endswith("_stderr") or _number(value) is None:
            continue
        found[_name(metric, filtered)] = TaskMetric(
            value=_number(value),
            stderr=_number(values.get(f"{metric}_stderr,{filtered}")),
            higher_is_better=better.get(metric) is not False,
        )
    return found


def _items(task: str, samples: Sequence[Mapping[str, Any]]) -> list[TaskItem]:
    """Return the items of a task, each with its scores of all filters."""
    found: dict[int, TaskItem] = {}
    for sample in samples:
        number = int(sample["doc_id"])
        filtered = str(sample.get("filter", ""))
        scores = {}
        for metric in sample.get("metrics", ()):
            value = _number(sample.get(metric))
            if value is not None:
                scores[_name(metric, filtered)] = value
        known = found.get(number)
        if known is not None:
            known.scores.update(scores)
            continue
        reference, answer = _texts(sample)
        found[number] = TaskItem(
            where=f"{task} {formats.count(number)}",
            hash=str(sample.get("doc_hash") or _hash(sample.get("doc"))),
            question=_question(sample),
            reference=reference,
            answer=answer,
            scores=scores,
        )
    return list(found.values())


def _name(metric: str, filtered: str) -> str:
    return metric if filtered in ("", "none") else f"{metric},{filtered}"


def _number(value: Any) -> float | None:
    """Return a finite number as such, and anything else as None."""
    try:
        number = None if isinstance(value, str | list | tuple) else float(value)
    except (TypeError, ValueError):
        return None
    return number if number is not None and math.isfinite(number) else None


def _hash(item: Any) -> str:
    return hashlib.sha256(json.dumps(item, sort_keys=True, default=str).encode()).hexdigest()


def _question(sample: Mapping[str, Any]) -> str:
    item = sample.get("doc")
    if isinstance(item, Mapping):
        for field in _QUESTIONS:
            if isinstance(item.get(field), str):
                return str(item[field])
    arguments = _arguments(sample)
    return str(arguments[0][0])[-_LONGEST_QUESTION:] if arguments and arguments[0] else ""


def _texts(sample: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the expected and the given answer: of several choices, those by likelihood."""
    target, answers = sample.get("target"), list(sample.get("filtered_resps") or [])
    choices = [str(each[1]).strip() for each in _arguments(sample) if len(each) > 1]
    scored = [pair[0] for pair in answers if isinstance(pair, list | tuple) and len(pair) == 2]
    if scored and len(scored) == len(answers) == len(choices) > 1:
        best = max(range(len(scored)), key=lambda at: float(scored[at]))
        known = isinstance(target, int) and 0 <= target < len(choices)
        return choices[int(target)] if known else str(target), choices[best]  # type: ignore[arg-type]
    if not answers or (isinstance(answers[0], list | tuple) and len(answers[0]) == 2):
        return str(target), None
    return str(target), str(answers[0])


def _arguments(sample: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the arguments of the item's requests; newer versions name them."""
    found = sample.get("arguments") or []
    if isinstance(found, Mapping):
        found = list(found.values())
    return [tuple(each.values()) if isinstance(each, Mapping) else tuple(each) for each in found]
