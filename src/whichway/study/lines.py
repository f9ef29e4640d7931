"""Which strategies a study compares, in which order, and which are left out for which reason."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from whichway.core.fields import Fields
from whichway.core.task import Task
from whichway.errors import TaskFileError, UsageError
from whichway.models.grammar import unfollowed
from whichway.models.pricing import Priced, known_price, training_price
from whichway.registry import get, names
from whichway.study.cost import Needs

CODE_CONTRACT = 16  # raised when the same settings would give other predictions: old runs are then not continued
# Cheap first: free priors set the bar (methods.md §2.1), then prompts, then training.
DEFAULTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("majority", "majority", {}),
    ("classic", "classic", {}),
    ("probe", "probe", {}),
    ("extractive", "extractive", {}),
    ("prompt-zero", "prompt", {"form": "zero"}),
    ("rag", "rag", {}),
    ("rag-classic", "rag", {"then": "classic", "passages": 1}),
    ("prompt-few", "prompt", {"form": "few"}),
    ("prompt-nearest", "prompt", {"form": "nearest"}),
    ("encoder", "encoder", {}),
    ("finetune", "finetune", {}),
    ("raft", "raft", {}),
    ("rag-finetune", "raft", {"trained": "bare"}),
    ("distill", "distill", {}),
    ("optimise", "optimise", {}),  # a search takes a share of the time that the others have left
    ("hybrid", "hybrid", {}),
    ("reflect", "reflect", {}),
)
# What a line takes from another one where nothing else is said: its weights are those, trained once for both.
LIKE = {"rag-finetune": ("finetune", ("method", "epochs", "longest"))}
PACKAGES = {"causal": ("torch", "transformers"), "embedder": ("torch", "sentence_transformers")}
TRAINING_PACKAGES = ("trl", "peft")


@dataclass(frozen=True)
class Line:
    """One strategy to be fitted and measured; `excluded` says why it will not be."""

    name: str
    way: str
    strategy: Any
    model: str  # 'causal', the name of an endpoint, 'embedder' or ''
    excluded: str = ""
    wording: str = ""  # a digest of instruction and context, where the strategy reads them, and of a judge's criteria
    judge: str = ""  # the model that tells it which drafts are better, if one does

    @property
    def settings(self) -> dict[str, Any]:
        """The strategy's settings as plain data."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self.strategy).items()}

    @property
    def is_local(self) -> bool:
        return self.model in ("", "causal", "embedder")

    def key(self, fingerprint: str) -> str:
        """Identify this trial by content: what it is, on which data, under which code contract."""
        said = [self.name, self.way, self.settings, self.model, fingerprint, CODE_CONTRACT, self.wording]
        parts = json.dumps(said, sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()


@dataclass(frozen=True)
class Means:
    """The budget of a study."""

    usd: float
    minutes: float


def make_lines(task: Task, settings: Any, only: Sequence[str] = (), means: Means | None = None) -> list[Line]:
    """Return all lines in their order; `only` names strategies or families ('prompt' means all its forms).

    `means` is the budget where it is not the task file's. Raises TaskFileError for names and settings that are none, and
    UsageError where a strategy that `only` calls by its own name asks an endpoint of unknown price; others are left out then.
    """
    chosen = settings.strategies
    every = [*DEFAULTS, *_endpoint_lines(settings), *_extra_lines()]
    known = {name for name, _, _ in every} | {way for _, way, _ in every}
    for name in (*only, *chosen.only, *chosen.skip, *chosen.settings):
        if name not in known:
            raise TaskFileError(f"There is no strategy called {name!r}.", f"Known: {', '.join(sorted(known))}.")
    for name in (*task.objective.hours, *task.objective.refresh_hours):
        if name not in known:
            raise TaskFileError(
                f"objective: hours of {name!r}, which is no strategy.", f"Known: {', '.join(sorted(known))}."
            )
    budget, lines = means or Means(settings.budget.usd, settings.budget.minutes), []
    for name, way, fixed in every:
        said = _said(name, way, fixed, settings)
        wanted = only or chosen.only
        if (wanted and not {name, way} & set(wanted)) or {name, way} & set(chosen.skip):
            continue
        line = _line(name, way, fixed, {key: value for key, value in said.items() if fixed.get(key) != value}, known)
        for model in (*(() if line.is_local else (line.model,)), *_asks(line)):
            if model not in settings.models.endpoints:
                known_models = ", ".join(["causal", *settings.models.endpoints])
                raise TaskFileError(f"The strategy {name!r} names a model {model!r}.", f"Known: {known_models}.")
        line = _judged(_worded(line, task), task, settings)
        _refuse_unpriced(line, only, task, settings)
        lines.append(_checked(line, task, settings, budget))
    if not lines:
        raise TaskFileError("No strategy is left to run.", "Widen strategies.only, strategies.skip or --only.")
    return lines


def _said(name: str, way: str, fixed: Mapping[str, Any], settings: Any) -> dict[str, Any]:
    """Return the settings of a line: its own before those of its family.

    Where a strategy says what it reads `at_endpoint`, a family's other settings are for its local lines alone, and one that is
    named for a line that answers there is refused: it would do nothing.
    """
    chosen = settings.strategies.settings
    family = {key: value for key, value in chosen.get(way, {}).items() if name == way or key not in fixed}
    family = {**_alike(name, chosen), **family}
    own = {**(family if name == way else {}), **chosen.get(name, {})}
    reads = getattr(get("strategy", way), "at_endpoint", None)
    if reads is None or {**fixed, **own}.get("model") not in settings.models.endpoints:
        return {**family, **own}
    idle = [key for key in own if key not in reads and key in get("strategy", way).__dataclass_fields__]
    if idle:
        fix = f"Leave it out; what counts there: {', '.join(reads)}."
        raise TaskFileError(f"strategies.settings.{name}: {idle[0]!r} does nothing at an endpoint.", fix)
    return {**{key: value for key, value in family.items() if key in reads}, **own}


def _alike(name: str, chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    other, shared = LIKE.get(name, ("", ()))
    return {key: chosen.get(other, {}).get(key, getattr(get("strategy", other), key)) for key in shared}


def _worded(line: Line, task: Task) -> Line:
    """Make a line's key change with instruction and context, unless its strategy says that it reads neither."""
    if not getattr(line.strategy, "reads_instruction", True):
        return line
    said = json.dumps([task.instruction, task.context])
    return replace(line, wording=hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16])


def _judged(line: Line, task: Task, settings: Any) -> Line:
    """Bind a strategy that learns from a judge's verdicts to the task file's; its key changes with the judge."""
    if getattr(line.strategy, "preferences", "") != "judge" or not line.is_local:
        return line
    where, judge = f"strategies.settings.{line.name}: preferences 'judge'", settings.judge
    if judge is None:
        raise TaskFileError(f"{where} needs a judge, and the task file names none.", "Name one: judge: {model: NAME}.")
    if task.output.shape != "text":
        raise TaskFileError(
            f"{where} is of no use here: a judge compares texts, and the answers are {task.output.shape}.",
            "Leave it out: rejected answers of rows are learned from all the same.",
        )
    if not line.strategy.can_prefer():
        raise TaskFileError(
            f"{where} cannot be learned with these settings.",
            "Take method: lora, adapter: lora or dora, and a preference above 0.",
        )
    said = json.dumps([judge.model, judge.criteria])
    digest = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return replace(line, judge=judge.model, wording=f"{line.wording} judged {digest}")


def folder_name(name: str) -> str:
    """Return a name for a folder: what is no letter, digit, '-', '_' or '.' is folded, and a hash keeps two apart."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def asked_endpoints(line: Line, endpoints: Mapping[str, Any]) -> list[str]:
    """Return the endpoints, of these, that a strategy asks: its own model, and those of strategies within it."""
    return [name for name in dict.fromkeys((line.model, *_asks(line))) if name in endpoints]


def _asks(line: Line) -> Mapping[str, bool]:
    """Return endpoints that a strategy asks beside its own model, and whether they are to fine-tune."""
    said: Mapping[str, bool] = line.strategy.asks() if hasattr(line.strategy, "asks") else {}
    return {**said, **({line.judge: False} if line.judge not in ("", "causal") else {})}


def in_use(strategy: Any) -> Any:
    """Return the strategy whose solution answers in use: its own, or that of a student within it."""
    return strategy.learner() if hasattr(strategy, "learner") else strategy


def needs_embedder(strategy: Any) -> bool:
    """Say whether a strategy needs sentence vectors, by itself, to find examples to show, or as its settings ask for them."""
    shows = getattr(strategy, "form", "") == "nearest" or getattr(strategy, "shown", 0) > 0
    asked = getattr(strategy, "mode", "") in ("dense", "fused") or getattr(strategy, "then", "") == "probe"
    asked = asked or getattr(strategy, "rerank", "") == "yes"
    return shows or asked or "embedder" in strategy.needs


def uses_embedder(strategy: Any) -> bool:
    """Say whether a strategy works with sentence vectors here: it needs them, or is helped by them and they can be had."""
    return needs_embedder(strategy) or (_is_helped(strategy) and has_embedder())


def has_embedder() -> bool:
    """Tell whether the packages of the sentence encoder are installed."""
    return all(importlib.util.find_spec(package) is not None for package in PACKAGES["embedder"])


def _is_helped(strategy: Any) -> bool:
    return "embedder" in getattr(strategy, "helped_by", ())


def _line(name: str, way: str, fixed: Mapping[str, Any], said: Mapping[str, Any], known: set[str]) -> Line:
    """Make a strategy of its settings, each checked against its declared type."""
    from pydantic import TypeAdapter, ValidationError

    made = get("strategy", way)
    fields = made.__dataclass_fields__
    for key in said:
        if key not in fields:
            raise TaskFileError(
                f"The strategy {way!r} has no setting {key!r}.", f"Known: {', '.join(fields) or 'none'}."
            )
        if key in fixed:
            raise TaskFileError(
                f"{key!r} is what makes {name!r} what it is.", "Leave it out, or set it for another name."
            )
    try:
        strategy = TypeAdapter(made).validate_python({**fixed, **said})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        fix = f"{first['msg']}; docs/strategies.md lists all settings."
        raise TaskFileError(f"strategies.settings.{name}: {where!r} cannot be {first['input']!r}.", fix) from error
    for inner in strategy.within() if hasattr(strategy, "within") else ():
        if inner not in known or inner == way:
            fix = f"Known: {', '.join(sorted(known - {way}))}."
            raise TaskFileError(f"The strategy {name!r} names a strategy {inner!r}.", fix)
    return Line(name, way, strategy, model_of(strategy))


def model_of(strategy: Any) -> str:
    """Return what a strategy answers with: 'causal', the name of an endpoint, 'embedder' or nothing."""
    alone = "embedder" if uses_embedder(strategy) else ""
    if getattr(strategy, "then", "prompt") != "prompt":  # the passages go to a linear model, not to a language model
        return alone
    return str(getattr(strategy, "model", alone))


def _endpoint_lines(settings: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the prompted strategies of each endpoint, called 'prompt-few@name'."""
    return [
        (f"prompt-{form}@{name}", "prompt", {"form": form, "model": name})
        for name in settings.models.endpoints
        for form in ("zero", "few", "nearest")
    ] + [
        (f"{way}@{name}", way, {"model": name})
        for name, one in settings.models.endpoints.items()
        for way in ("rag", "optimise", "reflect", *(("finetune",) if one.fine_tuning else ()))
    ]


def _extra_lines() -> list[tuple[str, str, dict[str, Any]]]:
    """Return strategies that other packages registered."""
    ours = {way for _, way, _ in DEFAULTS}
    return [(name, name, {}) for name in names("strategy") if name not in ours]


def _checked(line: Line, task: Task, settings: Any, means: Means) -> Line:
    """Say why a line cannot run, where that is known before anything is spent."""
    for name, trains in _trained(line, settings).items():
        if why := _unaffordable(name, trains, task, settings, means):
            return replace(line, excluded=why)
    if why := _misshapen(line, task):
        return replace(line, excluded=why)
    lacks = line.strategy.lacks(task) if hasattr(line.strategy, "lacks") else ""
    if lacks:
        return replace(line, excluded=lacks)
    if "documents" in line.strategy.needs and not task.documents:
        return replace(line, excluded="looks answers up in documents, and the task names none (`documents:`)")
    if late := _too_late(line, task):
        return replace(line, excluded=late)
    for package in _packages(line.strategy):
        if importlib.util.find_spec(package) is None:
            return replace(line, excluded=f"needs {package}, which is not installed: pip install 'whichway[local]'")
    return line


def _misshapen(line: Line, task: Task) -> str:
    """Say why a way cannot give answers of the task's shape."""
    shapes = getattr(line.strategy, "shapes", ("labels",))
    if getattr(line.strategy, "then", "prompt") != "prompt":
        shapes = ("labels",)
    if task.output.shape not in shapes:
        return f"serves {' and '.join(shapes)}; the answers here are {task.output.shape}"
    return unfollowed(task.output.schema) if line.model == "causal" and isinstance(task.output, Fields) else ""


def _packages(strategy: Any) -> list[str]:
    """Return packages that a strategy needs, and those within it."""
    found = list(PACKAGES["embedder"]) if needs_embedder(strategy) else []
    if hasattr(strategy, "within"):
        return found + [package for inner in strategy.within() for package in _packages(strategy.made(inner))]
    if model_of(strategy) == "causal":
        found += [*PACKAGES["causal"], *(TRAINING_PACKAGES if strategy.trains else ())]
    return found


def _too_late(line: Line, task: Task) -> str:
    """Say why a way cannot be in use by the deadline: the hours of work alone take longer."""
    deadline, days = task.constraints.deadline_days, Needs(line.name, line.way).build_days(task.objective)
    if deadline is None or days <= deadline:
        return ""
    return f"deadline: its hours of work take {days:.3g} days, and constraints.deadline_days is {deadline:g}"


def _refuse_unpriced(line: Line, only: Sequence[str], task: Task, settings: Any) -> None:
    """Refuse a way called by its name that asks an endpoint whose price, or that of its training, is unknown."""
    if line.name in only and task.constraints.privacy != "local":
        for name, trains in _trained(line, settings).items():
            _price(name, trains, settings)


def _trained(line: Line, settings: Any) -> dict[str, bool]:
    """Return the endpoints that a strategy asks, and whether they are to fine-tune."""
    said = {line.model: line.way == "finetune", **_asks(line)}
    return {name: said[name] for name in asked_endpoints(line, settings.models.endpoints)}


def _price(name: str, trains: bool, settings: Any) -> Priced:
    """Return what an endpoint charges; raises UsageError where that, or what it charges for training, is unknown."""
    endpoint = settings.models.endpoints[name]
    found = known_price(name, endpoint)
    if trains:
        training_price(name, endpoint)
    return found


def _unaffordable(name: str, trains: bool, task: Task, settings: Any, means: Means) -> str:
    """Say why an endpoint may not be called: privacy, an unknown price, no money for a known one, no time for a batch."""
    if task.constraints.privacy == "local":
        return "privacy: nothing may leave this machine, and this model is behind an endpoint"
    endpoint = settings.models.endpoints[name]
    try:
        price = _price(name, trains, settings)
    except UsageError as unknown:
        return f"money: {unknown.problem} {unknown.fix}"
    if means.usd <= 0 and not price.is_free:
        return "money: budget.usd is 0, and this endpoint has a price"
    longest = endpoint.batch_minutes
    if endpoint.batch and means.minutes < longest:
        return (
            f"time: budget.minutes is {means.minutes:g}, and a batch of {name!r} may take {longest:g} minutes. Raise "
            f"budget.minutes to {longest:g} or more, take `batch` off the endpoint, or set its batch_minutes to what you know"
        )
    return ""
