"""The advisor over a run that was read into tables: for runs that no advisor judged."""

from __future__ import annotations

from collections.abc import Iterator

from tui_trainer.advisor.advisor import Advisor
from tui_trainer.advisor.job_facts import facts_of
from tui_trainer.advisor.replay import Replay, from_columns
from tui_trainer.contracts.advice import Advice, AdvisorSettings, JobFacts
from tui_trainer.watch.snapshots import MetricTable, RunView

_SLICE = 256  # rows judged between two looks at whether one should stop
_SIGNALS = ("step", "loss", "learning_rate", "gradient_norm", "step_time_ms", "time", "val_loss")
_WORDS = {"learning_rate": "learning rate", "gradient_norm": "gradient norm"}


class ForeignAdvice:
    """Judges a run as it grows: only rows that came since the last time, where none was taken
    back or merged with others."""

    def __init__(self, settings: AdvisorSettings | None = None) -> None:
        self.settings = settings or AdvisorSettings()
        self.said: list[Advice] = []
        self.rows = 0
        self._advisor = Advisor(self.settings)
        self._seen: tuple[object, ...] = ()
        self._train = self._evals = 0

    @property
    def advice(self) -> tuple[Advice, ...]:
        """Every advice once, as last said."""
        return tuple({advice.id: advice for advice in self.said}.values())

    def result(self, lacks: list[str]) -> Replay:
        """As a replay gives it."""
        return Replay(
            advice=list(self.advice),
            said=self.said,
            lacks=lacks,
            rows=self.rows,
            advisor=self._advisor,
        )

    def take(self, view: RunView) -> Iterator[None]:
        """Judges what is new, and yields after every few hundred rows."""
        self._begin(view)
        train = _since(view.train, self._train)
        evals = _since(view.evals, self._evals)
        self._train, self._evals = len(view.train), len(view.evals)
        for at, reading in enumerate(from_columns(train, evals)):
            self.rows += reading.loss is not None or "loss" in reading.nonfinite
            self.said += self._advisor.observe(reading)
            if at % _SLICE == _SLICE - 1:
                yield

    def _begin(self, view: RunView) -> None:
        """Starts anew where what was judged is no longer the beginning of what is there."""
        seen = (view.summary.path, view.train.thinning, view.evals.thinning, view.resumed_at)
        shorter = len(view.train) < self._train or len(view.evals) < self._evals
        if seen != self._seen or shorter or view.train.thinning > 1:
            self._seen = seen
            self.said, self.rows, self._train, self._evals = [], 0, 0, 0
            self._advisor = Advisor(self.settings, facts_in(view))


def facts_in(view: RunView) -> JobFacts:
    """What a run says of its plan."""
    if view.info is not None:
        return facts_of(view.info.job, view.summary.total_steps)
    return JobFacts(total_steps=view.summary.total_steps)


def lacking(view: RunView) -> list[str]:
    """The signals that a run does not record, in words."""
    found = [words for name, words in _WORDS.items() if not view.train.count(name)]
    return found if view.evals.count("val_loss") else [*found, "validation loss"]


def _since(table: MetricTable, row: int) -> dict[str, list[float]]:
    return {
        name: column[row:].tolist() for name, column in table.columns.items() if name in _SIGNALS
    }
