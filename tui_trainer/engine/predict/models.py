"""The two kinds of models that predict: classifiers, and causal models that answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Task
from tui_trainer.contracts.predict import Prediction, PredictSetup
from tui_trainer.engine.data.questions import QuestionRow
from tui_trainer.models import base_model as bases
from tui_trainer.models import lora_load
from tui_trainer.models.base_identity import origin_of
from tui_trainer.models.chat_template import EncodedPrompt
from tui_trainer.models.classifier import Classifier, load_classifier
from tui_trainer.models.completeness import notices
from tui_trainer.models.serving.adapter_pool import AdapterPool
from tui_trainer.models.serving.generate import TextGenerator
from tui_trainer.models.serving.load_generator import Form, load_generator
from tui_trainer.store.adapters import adapter_files

OnStatus = Callable[[str], None]
# Rows whose predictions are calculated and written together: enough to batch by length, few
# enough that an interruption loses little.
_CLASSIFIED_ROWS = 256
_ANSWERED_ROWS = 64


class Predictor(Protocol):
    """A loaded model."""

    task: Task
    labels: list[str]  # classes of a classifier, in order
    notices: list[str]  # sentences for the user
    window: int  # rows to predict together

    def predict(self, questions: Sequence[QuestionRow]) -> list[Prediction]:
        """Return a prediction for each row, in order. Rows without one have an error."""


class ClassPredictor:
    """Predicts classes."""

    task: Task = "classification"
    window = _CLASSIFIED_ROWS

    def __init__(self, classifier: Classifier) -> None:
        self.labels = classifier.labels
        self.notices = notices(classifier.model.get_base_model())
        self._classifier = classifier

    def predict(self, questions: Sequence[QuestionRow]) -> list[Prediction]:
        """Return the probabilities of the classes of each row."""
        usable = [question for question in questions if question.error is None]
        found = iter(self._classifier.classify([question.text() for question in usable]))
        rows = []
        for question in questions:
            if question.error is not None:
                rows.append(Prediction(row=question.row, error=question.error))
                continue
            each = next(found)
            best = max(range(len(each.values)), key=each.values.__getitem__)
            rows.append(
                Prediction(
                    row=question.row,
                    input=question.text(),
                    label=self.labels[best],
                    probability=each.values[best],
                    probabilities=dict(zip(self.labels, each.values, strict=True)),
                    cut=each.cut,
                )
            )
        return rows


class AnswerPredictor:
    """Answers greedily."""

    task: Task = "causal-lm"
    window = _ANSWERED_ROWS
    labels: list[str] = []  # noqa: RUF012  (never changed)

    def __init__(self, generator: TextGenerator, max_new_tokens: int, notes: list[str]) -> None:
        """`generator` has the adapter active."""
        self.notices = notes
        self._generator = generator
        self._max_new_tokens = max_new_tokens

    def predict(self, questions: Sequence[QuestionRow]) -> list[Prediction]:
        """Return an answer for each row."""
        prompts: dict[int, EncodedPrompt] = {}
        errors: dict[int, str] = {}
        for index, question in enumerate(questions):
            try:
                if question.error is not None:
                    raise UserError(question.error)
                fitting = self._generator.fit(question.turns, self._max_new_tokens, question.tools)
                prompts[index] = fitting
            except UserError as error:
                errors[index] = str(error)
        answers = self._generator.write_many(list(prompts.values()), lambda _: False) or []
        texts = dict(zip(prompts, answers, strict=True))
        return [
            Prediction(
                row=question.row,
                input=question.text(),
                answer=texts.get(index),
                error=errors.get(index),
                cut=index in prompts and prompts[index].dropped_turns > 0,
            )
            for index, question in enumerate(questions)
        ]


def load(setup: PredictSetup, on_status: OnStatus) -> Predictor:
    """Load the model of an adapter. Raises `UserError`."""
    folder = Path(setup.adapter)
    on_status("checking the base")
    origin = origin_of(setup.base)
    on_status(f"loading {setup.base}")
    if adapter_files.task(folder) == "classification":
        return ClassPredictor(
            load_classifier(folder, origin, setup.labels, trust_remote_code=setup.trust_remote_code)
        )
    device = bases.pick_device()
    loaded = load_generator(
        origin,
        bases.load_tokenizer(setup.base, trust_remote_code=setup.trust_remote_code),
        device,
        Form(bases.fast_precision(setup.base, device)),
        trust_remote_code=setup.trust_remote_code,
        on_status=on_status,
    )
    generator = loaded.generator
    base = lora_load.describe(generator.model, origin)
    pool = AdapterPool(generator.model, base, generator.decoder)
    pool.activate(pool.acquire([(folder, 1.0)]))
    return AnswerPredictor(
        generator, setup.max_new_tokens, [*notices(generator.model), *loaded.notices]
    )
