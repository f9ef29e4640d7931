"""What the user wants: examples, predictions, metric, constraints, objective, task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from whichway.core.fields import Fields
from whichway.core.output import Labels
from whichway.core.text import Text
from whichway.errors import NotApplicable

Value = str | int | float | bool | None
Inputs = Mapping[str, Value]


@dataclass(frozen=True)
class Document:
    """One piece of the knowledge that answers are looked up in, as the user keeps it: an entry, a page, a contract."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Example:
    """One row: `inputs` are named fields, text and structured alike; `target` is a value of the task's output.

    `gold_documents` are ids of the documents that hold the answer, `references` further answers that are right as well,
    `rejected` answers that somebody has seen and likes less than the target.
    """

    id: str
    inputs: Inputs
    target: Any = None
    group: str | None = None
    gold_documents: tuple[str, ...] = ()
    references: tuple[Any, ...] = ()
    rejected: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Field:
    """One input field and how it is read: free text, a number, or one of a few categories.

    `is_found`: it was looked up for the row and is not part of what the row says; examples in a prompt go without it.
    """

    name: str
    kind: Literal["text", "number", "category"] = "text"
    is_found: bool = False


@dataclass(frozen=True)
class Prediction:
    """An answer. `confidence` is in [0, 1]; `scores` gives each label's probability where there is one.

    `parsed` is False when the model's text stated no valid answer; `value` is then a fallback and counts as wrong.
    `sources` are ids of the documents that are cited, `passages` the texts of the pieces of them that the answer was given.
    """

    value: Any
    confidence: float
    scores: Mapping[str, float] | None = None
    parsed: bool = True
    sources: tuple[str, ...] = ()
    passages: tuple[str, ...] = ()


class Metric(Protocol):
    """Scores one prediction, and aggregates any resample of those scores; higher is better.

    `name` is the registry name. `is_mean` says whether `aggregate` is the mean of per-row numbers,
    and `bounds` between which numbers it lies: both decide which interval is exact. A true `by_value` (optional) says that
    the value of an answer is all it reads, not how sure it is: a study may then leave out what only that takes.
    """

    name: str
    is_mean: bool
    bounds: tuple[float, float]

    def score_example(self, example: Example, prediction: Prediction) -> Any:
        """Score one answer; called once per answer, the result is plain JSON data."""

    def aggregate(self, scores: Sequence[Any]) -> float:
        """Aggregate scores of any resample of rows."""


def worth(metric: Metric, score: Any, parsed: bool = True) -> float:
    """Return what the score of one answer is worth by itself, within the metric's bounds.

    Metrics that count (F1 of entities, fields, labels) have nothing to count where nothing was wanted and nothing said. Over
    many rows that is left out; by itself such an answer is right, and 0 would make silence look like an error.
    """
    if parsed and getattr(metric, "uses_target", True) and _counts_nothing(score):
        return float(metric.bounds[1])
    return float(metric.aggregate([score]))


def _counts_nothing(score: Any) -> bool:
    if isinstance(score, Mapping):
        return all(_counts_nothing(one) for one in score.values())
    if isinstance(score, list | tuple):
        return all(type(one) is int and not one or _counts_nothing(one) for one in score)
    return False


@runtime_checkable
class Teachable(Protocol):
    """A metric that learns from labelled rows what it was not told."""

    def taught(self, examples: Sequence[Example]) -> Metric:
        """Return the metric with what the rows teach; a study calls it with rows that nothing is compared on."""


@dataclass(frozen=True)
class Constraints:
    """What an answer must satisfy; None means: no such limit.

    `deadline_days` is how long building may take: people's hours in days of eight, this machine's around the clock.
    """

    min_score: float | None = None
    max_cost_per_1000_usd: float | None = None
    max_upfront_usd: float | None = None
    max_p95_ms: float | None = None
    max_memory_mb: float | None = None
    min_consistency: float | None = None
    deadline_days: float | None = None
    privacy: Literal["local", "any"] = "any"


@dataclass(frozen=True)
class Objective:
    """What is worth having: `smallest_difference` is the gap in score below which two strategies count as tied.

    The rest prices what a strategy needs (study.cost). `labels_owned`: labels that need not be bought, None for all of the
    data. `hours` and `refresh_hours` are people's, by strategy or by family, for building once and for each refresh, at
    `hourly_usd`. `hosting_usd_per_month`: the machine that answers locally is rented by the month and not by use.
    """

    smallest_difference: float = 0.02
    requests_per_month: float = 10_000
    horizon_months: float = 12
    label_usd: float = 0.0
    compute_usd_per_hour: float | None = None
    timeline_days: float | None = None
    labels_owned: float | None = None
    refresh_months: float | None = None
    refresh_labels: float = 0.0
    hourly_usd: float = 0.0
    hours: Mapping[str, float] = field(default_factory=dict)
    refresh_hours: Mapping[str, float] = field(default_factory=dict)
    hosting_usd_per_month: float | None = None


@dataclass(frozen=True)
class Task:
    """What every strategy is told. It carries no examples, so nothing of validation or test can be reached through it.

    `documents` are the knowledge to look answers up in; they belong to the task, not to any part of the split. `further` are
    metrics that are reported beside `metric` and decide nothing. `paraphrases` are the instruction in other words: what a
    prompt's steadiness is measured over. `unlabelled` are rows without an answer, none of which is a
    labelled row.
    """

    name: str
    instruction: str
    fields: tuple[Field, ...]
    output: Labels | Fields | Text
    metric: Metric
    context: str = ""
    constraints: Constraints = field(default_factory=Constraints)
    objective: Objective = field(default_factory=Objective)
    documents: tuple[Document, ...] = ()
    further: tuple[Metric, ...] = ()
    unlabelled: tuple[Inputs, ...] = ()
    paraphrases: tuple[str, ...] = ()

    @property
    def labels(self) -> Labels:
        """The output of a task whose answers are labels; raises NotApplicable for every other shape."""
        if not isinstance(self.output, Labels):
            problem = f"Chooses among labels; the answers here are {self.output.shape}."
            raise NotApplicable(problem, "Use a way that writes or finds answers: prompt, rag, finetune, extractive.")
        return self.output

    @property
    def text_fields(self) -> tuple[str, ...]:
        """Names of the free-text fields, in order."""
        return tuple(one.name for one in self.fields if one.kind == "text")
