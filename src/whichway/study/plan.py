"""What a study will do, what it is expected to cost, what it can tell apart; and what practice would try first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from whichway.core.model import Meter
from whichway.core.output import Labels
from whichway.core.task import Example, Task
from whichway.models.hardware import slowness
from whichway.models.pricing import price_of
from whichway.models.rehearsal import Bill
from whichway.strategies.distill import LABELLED
from whichway.study.evidence import smallest_detectable
from whichway.study.forecast import (
    SURE,
    Course,
    finalists_bill,
    is_looked_through,
    judging_bill,
    make_cast,
    rehearse,
)
from whichway.study.kit import CachedEmbedder, ModelShelf
from whichway.study.lines import Line, asked_endpoints, has_embedder, model_of
from whichway.study.measuring import PAID_ROWS, REWRITTEN_ROWS, REWRITTEN_S
from whichway.study.split import Split

# Measured on two AMD EPYC cores (Zen 5) with bf16, embedded models, 2026-11-22; commands in docs/log.md.
PREFILL = 1700.0  # tokens per second that a prompt is read at
TRAINING = 850.0  # tokens per second of LoRA training
ENCODING = 7000.0  # tokens per second of the sentence encoder
TUNING = 1700.0  # tokens per second of its training, in fp32 whatever models compute in
PASSAGE_TOKENS = 220  # of a passage in a prompt
PASSAGES = 3  # in a prompt where a study chooses how many (strategies/parts/lookup.py)
ANSWER_TOKENS = 40  # of a written answer
WRITING = 400  # tokens per second, many rows at once
TRIE_TOKENS = 2.0  # inner tokens per label that are read for every row that calibrates
SPARED, SPARED_FROM = 0.5, 16  # share of them that other rows need not read, where they are so many (parts/sparing.py)
START_S = {"causal": 5.0, "embedder": 6.0, "": 1.0}  # loading libraries and weights once
TOKENS_PER_CHARACTER = 0.25
CHECKED = 60  # rows that calibrate a prompt, and single ones that are timed
FORMS = 9  # other forms that a prompt usually has
CALL_S = 1.0  # of an endpoint
FEW_WRITTEN = 60  # rows with written answers below which practice does not train


@dataclass(frozen=True)
class Estimate:
    """What one line is expected to take to fit and compare: seconds, dollars, paid calls.

    `most_usd` is what it may take at most: a search, whose course depends on the answers, may ask far more than is expected.
    `test_usd` comes on top for a finalist.
    """

    line: Line
    seconds: float
    usd: float
    calls: int
    test_usd: float = 0.0
    most_usd: float = 0.0


@dataclass(frozen=True)
class Plan:
    """All that can be said before anything is spent."""

    split: Split
    estimates: tuple[Estimate, ...]
    excluded: tuple[Line, ...]
    detectable: dict[str, float]
    expectation: tuple[str, ...]
    further_usd: float = 0.0  # for the finalists' test with those that practice expects in front, and for a judge
    most_further_usd: float = 0.0

    @property
    def usd(self) -> float:
        """Return what endpoints are expected to cost in all."""
        return sum(one.usd for one in self.estimates) + self.further_usd

    @property
    def most_usd(self) -> float:
        """Return what they cost if every search asks for all it may, and the dearest ways are certified."""
        return sum(max(one.usd, one.most_usd) for one in self.estimates) + self.most_further_usd


def make_plan(task: Task, rows: Sequence[Example], split: Split, lines: Sequence[Line], settings: Any) -> Plan:
    """Lay out a study. Times are rough (a factor of two); a race corrects them as trials end."""
    parts = {"validation": len(split.validation), "test": len(split.test)}
    known, cast = {row.id: row for row in rows}, {}
    included = [line for line in lines if not line.excluded]
    if any(asked_endpoints(line, settings.models.endpoints) for line in included):
        cast = make_cast(task, known, split, settings)
    embedder = _embedder(task, included, cast, settings)
    found, tests = [], []
    for line in included:
        one = estimate(task, rows, split, line, settings)
        if asked_endpoints(line, cast):
            one = _rehearsed(one, rehearse(task, known, split, line, cast, embedder), settings)
        found.append(one)
        tests.append((line, Bill(0, one.test_usd)))
    middle, most = finalists_bill(tests)
    judged = judging_bill(task, [known[id_] for id_ in split.validation], settings, cast)
    return Plan(
        split,
        tuple(found),
        tuple(line for line in lines if line.excluded),
        {part: smallest_detectable(n) for part, n in parts.items() if n},
        tuple(expectation(task, len(split.learning), settings)),
        middle.usd + judged.usd,
        most.usd + SURE * judged.usd,
    )


def _embedder(task: Task, lines: Sequence[Line], cast: Mapping[str, Any], settings: Any) -> Any:
    """Return the encoder that chooses what an endpoint is shown of documents; None where nothing is, or a plan has no time."""
    shown = any(line.way == "rag" and asked_endpoints(line, cast) for line in lines)
    if not (shown and has_embedder() and is_looked_through(task)):
        return None
    return CachedEmbedder(ModelShelf(settings, _no_meter, only_local=True), None)


def _no_meter() -> Meter:
    raise AssertionError("a plan pays for nothing")


def _rehearsed(rough: Estimate, course: Course | None, settings: Any) -> Estimate:
    """Return an endpoint's estimate from its rehearsal, where there is one."""
    if course is None:
        return rough
    calls = round(course.compare.calls)
    asked = asked_endpoints(rough.line, settings.models.endpoints)
    seconds = CALL_S * calls / min(settings.models.endpoints[name].max_concurrency for name in asked)
    seconds += rough.seconds if rough.line.is_local else 0.0
    return Estimate(rough.line, seconds, course.compare.usd, calls, course.test.usd, course.most.usd)


def estimate(task: Task, rows: Sequence[Example], split: Split, line: Line, settings: Any) -> Estimate:
    """Estimate one line's fitting and comparison from text lengths, this page's rates and how slow this machine is."""
    if line.way == "distill":
        return _taught(task, rows, split, line, settings)
    row_tokens = TOKENS_PER_CHARACTER * sum(_length(row) for row in rows[:500]) / max(1, len(rows[:500])) + 8
    learn = sum(len(fold.train) + len(fold.dev) for fold in split.folds)
    compare, strategy = len(split.validation), line.strategy
    head = TOKENS_PER_CHARACTER * (len(task.instruction) + len(task.context) + len(task.output.ask()))
    if line.model not in ("", "causal", "embedder"):
        return _endpoint(line, settings, row_tokens, head, learn, compare)
    seconds, work = START_S[line.model], 0.0
    if line.way == "classic":
        seconds += learn * _answers(task) * row_tokens * 3e-6 * 13
    elif line.way == "probe":
        seconds += learn * _answers(task) * 4e-4
        work = (learn + compare) * row_tokens / ENCODING
    elif line.way == "encoder":
        seconds += here(min(max(6 * learn, 1600), 6000) * row_tokens / TUNING, exact=True)
        work = 2 * (learn + compare) * row_tokens / ENCODING
    elif line.model == "causal":
        work, row = _causal(task, strategy, learn, compare, row_tokens, head)
        form = here(REWRITTEN_ROWS * row)
        seconds += min(FORMS * form, max(form, REWRITTEN_S))  # one form is asked in any case
    return Estimate(line, seconds + here(work), 0.0, 0)


def here(work: float, exact: bool = False) -> float:
    """Return how long work of a local model takes on this machine, `work` seconds at this page's rates; `exact`: in fp32."""
    return slowness(exact) * work if work else 0.0


def _taught(task: Task, rows: Sequence[Example], split: Split, line: Line, settings: Any) -> Estimate:
    """Estimate teachers that answer rows without labels, each of them as often as it does, and a student of all that."""
    teach, seconds, usd, calls = line.strategy, 0.0, 0.0, 0
    pool, labelled = min(teach.most, len(task.unlabelled)), max(1, len(split.folds[0].train))
    for inner in teach.within():
        strategy, is_student = teach.made(inner), inner == teach.student and inner not in teach.teachers
        one = replace(line, name=inner, way=inner.split("@")[0], strategy=strategy, model=model_of(strategy))
        asked = split if is_student else replace(split, validation=("",) * pool)
        found = estimate(task, rows, asked, one, settings)
        times = LABELLED + teach.keep * pool / labelled if is_student else teach.turns()
        seconds, usd, calls = seconds + times * found.seconds, usd + found.usd, calls + found.calls
    return Estimate(line, seconds, usd, calls)


def _causal(task: Task, strategy: Any, learn: int, compare: int, row: float, head: float) -> tuple[float, float]:
    """Return seconds at this page's rates of reading prompts and of training, and of one more row."""
    shown = getattr(strategy, "shots", 0) or {"few": 8, "nearest": 4}.get(getattr(strategy, "form", ""), 0)
    shown = getattr(strategy, "shown", 0) or shown
    own = row + (shown * (row + 4) if getattr(strategy, "form", "") != "few" else 0)
    trie = TRIE_TOKENS * _answers(task)
    spared = SPARED * trie if trie >= SPARED_FROM else 0.0
    looked_up = _looked_up(strategy)
    own += looked_up
    learned = 0 if getattr(strategy, "trained", "") == "bare" else looked_up  # such weights see passages in use alone
    around = getattr(strategy, "around", 0)  # prompt, weights, prompt: two searches, and each step is measured
    compare = (4 if around else 1) * compare + (2 if around else 1) * _searched(strategy)
    each = (own + trie - spared) / PREFILL + (0.0 if isinstance(task.output, Labels) else ANSWER_TOKENS / WRITING)
    seconds = (compare + CHECKED) * each + CHECKED * spared / PREFILL + (head + shown * row) * 7 / PREFILL
    if strategy.trains:
        seconds += (
            max(1, getattr(strategy, "tries", 1))
            * strategy.epochs
            * learn
            * (row + around + learned + shown * (row + 4))
            / TRAINING
        )
    return seconds, each


def _endpoint(line: Line, settings: Any, row: float, head: float, learn: int, compare: int) -> Estimate:
    form, found = getattr(line.strategy, "form", "zero"), settings.models.endpoints[line.model]
    shown = getattr(line.strategy, "shots", 0) or {"few": 8, "nearest": 4}.get(form, 0)
    calls = compare + 12 + FORMS * PAID_ROWS + _searched(line.strategy, paid=True)
    shown = 8 if line.way == "optimise" else shown
    tokens_in = calls * (head + row * (1 + shown) + _looked_up(line.strategy) + 20)
    usd, price = 0.0, price_of(found)
    if price is not None:
        usd = (tokens_in * price.plain.input + calls * 12 * price.plain.output) / 1e6
        if line.strategy.trains:
            usd += line.strategy.epochs * learn * (row + 16) * (price.training or 0.0) / 1e6
    return Estimate(line, CALL_S * calls / max(1, found.max_concurrency), usd, calls)


def _looked_up(strategy: Any) -> int:
    """Return the tokens of the passages that a way puts before a question: none for ways that look nothing up."""
    return (strategy.passages or PASSAGES) * PASSAGE_TOKENS if hasattr(strategy, "passages") else 0


def _searched(strategy: Any, paid: bool = False) -> int:
    """Return how many rows a search for a prompt scores: most prompts are dropped after their first block; then the seed."""
    prompts = getattr(strategy, "prompts", 0)
    return int(prompts * (20 if paid else 28)) + 2 * 48 * bool(prompts)


def _answers(task: Task) -> int:
    """Return how many answers are scored against each other: none where they are written."""
    return len(task.output.names) if isinstance(task.output, Labels) else 0


def _length(row: Example) -> int:
    return sum(len(str(value)) for value in row.inputs.values())


def expectation(task: Task, labels: int, settings: Any) -> list[str]:
    """Return what practice would try first and why. Expectation, not evidence: the study is what decides."""
    found = []
    if any(one.kind != "text" for one in task.fields):
        found.append(
            "Structured fields beside text: classic (trees or a linear model over fields and words) is what most teams ship."
        )
    found.append(_by_labels(labels, labels / _answers(task)) if _answers(task) else _by_rows(task, labels))
    if task.documents:
        found.append(_by_documents(task))
    found += _by_limits(task, settings)
    return found


def _by_labels(labels: int, per_label: float) -> str:
    said = f"{labels} labels, {per_label:.0f} per answer"
    if per_label < 8:
        return f"{said}: too few to train; practice begins with a prompt to a strong model."
    if per_label < 50:
        return (
            f"{said}: embeddings with a linear head or a tuned encoder usually win on "
            "short texts; fine-tuning a language model rarely pays yet."
        )
    return f"{said}: enough to fine-tune; a tuned encoder is the cheap rival."


def _by_rows(task: Task, rows: int) -> str:
    """Return what practice would try where answers are written: objects or texts."""
    what = "JSON objects" if task.output.shape == "fields" else "texts"
    if rows < FEW_WRITTEN:
        return f"{rows} rows with {what}: too few to train; practice begins with a prompt to a strong model that shows a few."
    form = "the form of a fixed schema" if task.output.shape == "fields" else "a house's style"
    return (
        f"{rows} rows with {what}: enough to fine-tune a small model, which learns {form} well and facts badly; a prompt to a "
        "strong model that shows similar rows is its rival."
    )


def _by_documents(task: Task) -> str:
    """Return what practice would try where there is something to look answers up in."""
    said = f"{len(task.documents):,} documents: looking up before a prompt (rag) is what practice tries first"
    if task.output.shape == "labels":
        return f"{said}; whether the labels need it shows beside the ways without documents."
    return (
        f"{said}, and where answers stand there word for word, finding them (extractive). Fine-tuning teaches no facts."
    )


def _by_limits(task: Task, settings: Any) -> list[str]:
    limits, goal, found = task.constraints, task.objective, []
    if limits.privacy == "local":
        found.append("Privacy 'local': nothing may go to an endpoint, so small local models are all there is.")
    elif not settings.models.endpoints:
        found.append(
            "No endpoint is named (models.endpoints): a strong hosted model by prompt is not in this comparison."
        )
    if limits.min_score is not None and limits.min_score >= 0.95:
        found.append(
            f"A required score of {limits.min_score:g} usually takes training on your own labels, or abstaining on hard rows."
        )
    if goal.requests_per_month >= 100_000:
        found.append(
            f"{goal.requests_per_month:,.0f} requests a month: the price per request decides; small models are favoured."
        )
    elif goal.requests_per_month <= 1000:
        found.append(
            f"{goal.requests_per_month:,.0f} requests a month: running costs hardly count; build time and upkeep do."
        )
    if goal.timeline_days is not None and goal.timeline_days <= 3:
        found.append(
            f"{goal.timeline_days:g} days: a prompt or a linear head can be changed in minutes, a fine-tune cannot."
        )
    if settings.budget.usd == 0 and settings.models.endpoints:
        found.append("budget.usd is 0: endpoints with a price will not be called.")
    return found
