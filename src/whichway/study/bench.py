"""What all trials of one study share, and its units of work: a fit, a block of answers, each committed whole."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from whichway.core.model import Spend
from whichway.core.strategy import ONWARD, RESUME, Budget, Kit, Progress, PromptVersion, Solution, tersely
from whichway.core.task import Example, Metric, Prediction, Task
from whichway.errors import BudgetReached
from whichway.models import hardware
from whichway.study import beside
from whichway.study.content import block_content, fit_content
from whichway.study.deadline import until
from whichway.study.kit import CachedEmbedder, FreshEmbedder, ModelShelf, PairJudge, TrialMeter
from whichway.study.ledger import Ledger
from whichway.study.lines import Line, folder_name, has_embedder, uses_embedder
from whichway.study.split import DEV_SHARE, Split
from whichway.study.trainings import KeptTrainings

BLOCK = 32
ON_GPU = 256  # the same on a GPU
PART, FEWEST = 4, 20  # a line that goes on is trained on a quarter of its labels first, on so many at least
STEP = "step"  # the phase of that fit in the ledger
SURE = ("validation", "test")  # parts whose answers are told with their confidence; of others the answers alone count
PHASES = {"fold": "fit", "rung": "rung", "final": "refit"}  # of other fits
Rows = tuple[Sequence[Example], Sequence[Example]]  # train, dev


@dataclass(frozen=True)
class Bench:
    """All that trials of one study share."""

    task: Task
    rows: dict[str, Example]
    test: dict[str, Example]
    split: Split
    ledger: Ledger
    shelf: ModelShelf
    meter: TrialMeter
    deadline: float
    fingerprint: str
    say: Callable[[str, Progress], None]
    at_hand: dict[str, Solution] = field(default_factory=dict)
    content: str = ""  # what all its fits depend on; see study/content.py
    beside: beside.Beside = field(default_factory=beside.Beside)

    @property
    def metric(self) -> Metric:
        return self.task.metric

    def kit(self, line: Line, folder: Path, fresh: bool = False, spare_s: float = 0.0, **more: Any) -> Kit:
        """Return what one strategy may touch; `fresh` leaves the vector cache out; `spare_s` is kept for later work."""
        embedder: Any = FreshEmbedder(self.shelf) if fresh else CachedEmbedder(self.shelf, self.ledger)
        has = (line.model or uses_embedder(line.strategy)) and has_embedder()
        budget = Budget(self.deadline - spare_s, self.ledger.usd_cap)
        return Kit(
            self.shelf,
            embedder if has else None,
            folder,
            self.split.seed,
            budget,
            lambda p: self.say(line.name, p),
            lambda one: self.ledger.keep_prompt(line.name, "train", one),
            PairJudge(self.shelf, self.shelf.settings.judge) if line.judge else None,
            **more,
        )

    def steadiness_key(self, line: Line) -> str:
        """Return the key of what is measured of a line beside its score: how steady its answers are, in which words."""
        said = json.dumps(self.task.paraphrases).encode("utf-8", "surrogatepass")
        own = f"/{hashlib.sha256(said).hexdigest()[:16]}" if self.task.paraphrases else ""
        return f"{line.key(self.fingerprint)}/consistency{own}"

    def cut_off(self, line: Line, spare_s: float) -> float:
        """Return when work of a line is cut off; never for an endpoint's, whose calls are metered and look at the clock."""
        return float("inf") if line.model in self.shelf.endpoints else self.deadline - spare_s

    def check_time(self, needed: float = 0.0) -> None:
        """Raise BudgetReached when `needed` seconds are no longer there."""
        if time.monotonic() + needed > self.deadline:
            raise BudgetReached(
                "The time budget is used up.", "Raise budget.minutes (or --budget-minutes) and run again."
            )


def fitted(
    bench: Bench, line: Line, which: str, train: Sequence[Example], dev: Sequence[Example], spare_s: float = 0.0
) -> Solution:
    """Return the solution of one fold (or 'final'), fitted at most once: what was committed is loaded.

    It is always used as loaded from disk, so that a continued run predicts what an uninterrupted one would. The last one
    stays in memory until something else is fitted or loaded: a race asks for a few rows of the same way again and again.
    """
    _fit(bench, line, which, train, dev, spare_s)
    key = f"{line.key(bench.fingerprint)}/{which}"
    if key not in bench.at_hand:
        bench.at_hand.clear()
        bench.at_hand[key] = load_solution(bench, line, which)
    return bench.at_hand[key]


def _fit(
    bench: Bench, line: Line, which: str, train: Sequence[Example], dev: Sequence[Example], spare_s: float
) -> None:
    if _is_there(bench, line, which) or _taken_over(bench, line, which, (train, dev)):
        return
    key, folder = f"{line.key(bench.fingerprint)}/{which}", solution_folder(bench, line, which)
    bench.check_time(spare_s)
    bench.at_hand.clear()
    step, phase = step_of(bench, line), bench.meter.phase
    more: dict[str, Any] = {}
    if step and which == "fold-0":
        more = _stepped(bench, line, step, spare_s)
    elif which == f"rung-{step}":
        phase, more = STEP, {"is_step": True}
    bench.say(line.name, Progress("fitting"))
    scratch = folder.with_name(folder.name + ".partial")
    shutil.rmtree(folder, ignore_errors=True)
    _empty(scratch)
    ticket = bench.ledger.reserve(key, line.name, phase, Spend())
    began = time.monotonic()
    trainings = KeptTrainings(bench.ledger.folder, line.name, bench.beside, bench.shelf.weights)
    kit, heard = _listening(bench.kit(line, scratch, spare_s=spare_s, trainings=trainings, **more))
    with until(bench.cut_off(line, spare_s)):
        solution = line.strategy.fit(bench.task, train, dev, kit)
    solution.save(scratch)
    shutil.rmtree(scratch / RESUME, ignore_errors=True)
    scratch.rename(folder)
    spared = trainings.spared
    seconds = time.monotonic() - began + sum(one["seconds"] for one in spared)  # what it takes by itself
    hardware.give_memory_back()
    spend = Spend(seconds=seconds, tokens_in=getattr(solution, "tokens", 0))
    content = _content(bench, line, which, (train, dev))
    about: dict[str, Any] = {"spared": spared} if spared else {}
    if content:
        about |= {"content": content, "files": beside.receipt(folder), "prompts": heard}
    _settle(bench, line, ticket, spend, {"folder": folder.name, **about})
    if "begun" in more:  # weights and optimiser, far larger than what they became
        shutil.rmtree(more["begun"], ignore_errors=True)


def _settle(bench: Bench, line: Line, ticket: int, spend: Spend, about: Mapping[str, Any]) -> None:
    if about["folder"] == "fold-0" and len(bench.split.folds) > 1:
        _note_first_fit(bench, line)
    bench.ledger.settle(ticket, spend, about)


def _is_there(bench: Bench, line: Line, which: str) -> bool:
    key = f"{line.key(bench.fingerprint)}/{which}"
    return bool(bench.ledger.recall(key)) and solution_folder(bench, line, which).exists()


def is_begun(bench: Bench, line: Line) -> bool:
    """Tell whether a way's first fit is made, here or in a run beside this one."""
    rows = _first_rows(bench)
    return _is_there(bench, line, "fold-0") or bool(bench.beside.find(_content(bench, line, "fold-0", rows)))


def _first_rows(bench: Bench) -> Rows:
    fold = bench.split.folds[0]
    return [bench.rows[id_] for id_ in fold.train], [bench.rows[id_] for id_ in fold.dev]


def _listening(kit: Kit) -> tuple[Kit, list[list[Any]]]:
    """Return a kit that tells which prompts are scored with it, and where it tells that."""
    heard: list[list[Any]] = []

    def record(one: PromptVersion) -> None:
        heard.append([one.id, one.rows])
        kit.record(one)

    return replace(kit, record=record), heard


def _content(bench: Bench, line: Line, which: str, rows: Sequence[Sequence[Example]]) -> str:
    """Return what a fit depends on; see study/content.py."""
    step = step_of(bench, line)
    more: dict[str, Any] = {"step": step if which == "fold-0" else 0, "is_step": which == f"rung-{step}"}
    if getattr(line.strategy, "searches", True):
        limits = asdict(bench.task.constraints), asdict(bench.task.objective)
        more["budget"] = [bench.ledger.noted("minutes"), bench.ledger.usd_cap, *limits]
    return fit_content(bench.content, line, bench.shelf, rows, more) if bench.content else ""


def _taken_over(bench: Bench, line: Line, which: str, rows: Rows) -> bool:
    """Take a fit over from a run beside this one, where one has made it; its cost is the way's, its time not this run's.

    One that goes on from a step is taken over with it, or not at all: what the step left to go on from is gone there.
    """
    step = step_of(bench, line)
    wanted = {which: rows}
    if step and which in ("fold-0", f"rung-{step}"):
        wanted = {f"rung-{step}": rows_of_rung(bench, step), "fold-0": _first_rows(bench)}
    found: dict[str, beside.Unit] = {}
    for name in (one for one in wanted if not _is_there(bench, line, one)):
        scratch = solution_folder(bench, line, f"{name}.partial")
        units = bench.beside.find(_content(bench, line, name, wanted[name]))
        unit = next((one for one in units if beside.copied(one, scratch)), None)
        if unit is None:
            return False
        found[name] = unit
    for name, unit in found.items():
        _take(bench, line, name, unit, STEP if name == f"rung-{step}" else PHASES[name.split("-")[0]])
    if "fold-0" in wanted:
        shutil.rmtree(solution_folder(bench, line, f"rung-{step}") / ONWARD, ignore_errors=True)
    return True


def _take(bench: Bench, line: Line, which: str, unit: beside.Unit, phase: str) -> None:
    """Make a fit this run's own that was copied beside its place."""
    folder = solution_folder(bench, line, which)
    bench.say(
        line.name, Progress(f"fit found in the run {unit.run.name!r}: {unit.spend.seconds:.1f} s there", is_news=True)
    )
    shutil.rmtree(folder, ignore_errors=True)
    ticket = bench.ledger.reserve(f"{line.key(bench.fingerprint)}/{which}", line.name, phase, Spend())
    folder.with_name(f"{folder.name}.partial").rename(folder)
    bench.ledger.keep_scored([{**one, "trial": line.name} for one in beside.prompts(unit)])
    about = {"folder": folder.name, "taken_from": unit.run.name}
    _settle(bench, line, ticket, unit.spend, {**unit.about, **about})


def _stepped(bench: Bench, line: Line, step: int, spare_s: float) -> dict[str, Any]:
    """Fit a line on a part of its rows and return where a fit on all of them goes on from; nothing where the part is too few."""
    try:
        _fit(bench, line, f"rung-{step}", *rows_of_rung(bench, step), spare_s)
    except BudgetReached:
        raise
    except Exception as error:  # all rows may be enough where a quarter is not: then they are trained on in one go
        bench.ledger.decide("step not trained", {"strategy": line.name, "reason": str(error)[:200]})
        return {}
    return {"begun": solution_folder(bench, line, f"rung-{step}") / ONWARD}


def step_of(bench: Bench, line: Line) -> int:
    """Return on how many labels a line is trained first, to go on from there on all of them; 0: it is fitted in one go."""
    fold, is_one = bench.split.folds[0], len(bench.split.folds) == 1
    labels = (len(fold.train) + len(fold.dev)) // PART
    if not (is_one and labels >= FEWEST and line.is_local and getattr(line.strategy, "continues", False)):
        return 0
    prefers = any(bench.rows[id_].rejected for id_ in fold.train)  # preferences are learned at the end, once
    return 0 if prefers else labels


def rows_of_rung(bench: Bench, labels: int) -> tuple[list[Example], list[Example]]:
    """Return train and dev rows of a fit on this many labels: those of fewer labels and more, in an order by the seed alone."""
    fold, held = bench.split.folds[0], round(DEV_SHARE * labels)
    parts = ((fold.train, labels - held), (fold.dev, held))
    shuffled = [(random.Random(bench.split.seed).sample(sorted(ids), len(ids)), count) for ids, count in parts]
    train, dev = ([bench.rows[id_] for id_ in ids[:count]] for ids, count in shuffled)
    return train, dev


def fit_seconds(bench: Bench, name: str) -> list[float]:
    """Return how long each fit of a trial took in all, the step that it went on from included."""
    step = sum(bench.ledger.call_seconds(name, STEP))
    return [step + one for one in bench.ledger.call_seconds(name, "fit")]


def first_fit(bench: Bench, line: Line) -> str:
    """Return the key under which lies what the first fold's fit has paid for."""
    return f"{line.key(bench.fingerprint)}/first-fit"


def _note_first_fit(bench: Bench, line: Line) -> None:
    """Keep what the first fold's fit has paid for: it is the only one that finds nothing that was paid for before."""
    key = first_fit(bench, line)
    if bench.ledger.recall(key) is None:
        spends = bench.ledger.spends()
        usd = sum(one.usd for trial, phase, _, one in spends if trial == line.name and phase.split(":")[0] == "fit")
        ticket = bench.ledger.reserve(key, line.name, "first-fit", Spend())
        bench.ledger.settle(ticket, Spend(), {"usd": usd})


def _empty(folder: Path) -> None:
    """Make a folder empty but for what a killed fit left there to go on from."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.is_dir() and old.name != RESUME:
            shutil.rmtree(old)
        elif not old.is_dir():
            old.unlink()


def load_solution(bench: Bench, line: Line, which: str, fresh: bool = False) -> Solution:
    """Load a fitted solution from the run folder."""
    folder = solution_folder(bench, line, which)
    solution: Solution = line.strategy.load(bench.task, folder, bench.kit(line, folder, fresh))
    return solution


def solution_folder(bench: Bench, line: Line, which: str) -> Path:
    """Return where a line's solution lies; endpoint names may hold any character, so they are folded."""
    return bench.ledger.folder / "trials" / folder_name(line.name) / which


def predict_blocks(
    bench: Bench,
    line: Line,
    solution: Solution,
    rows: Sequence[Example],
    part: str,
    spare_s: float = 0.0,
    which: str = "",
) -> None:
    """Predict rows in fixed blocks; each is committed whole with its scores, and done at most once.

    What goes out as a batch is one block: every batch may take a day. `which` says whose answers they are, of a fit as it was
    loaded: where that fit was taken over from a run beside this one, so are answers to the same rows.
    """
    terse = part not in SURE
    solution = by_value(bench, solution) if terse else solution
    known = bench.ledger.predictions(line.name, part)
    slowest, size = 0.0, max(1, len(rows)) if bench.shelf.is_batched(line.model) else _block(line)
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        if all(row.id in known for row in block):
            continue
        content, answered = _answered(bench, line, block, which, terse)
        if answered is None:
            bench.check_time(spare_s + slowest)
        key = f"{line.key(bench.fingerprint)}/{part}/{block[0].id}"
        ticket = bench.ledger.reserve(key, line.name, part, Spend())
        began = time.monotonic()
        about = {"content": content} if content else {}
        if answered is None:
            with until(bench.cut_off(line, spare_s)):
                answers = solution.predict([row.inputs for row in block])
            spend = Spend(seconds=time.monotonic() - began)
            slowest = max(slowest, spend.seconds)
        else:
            unit, answers = answered
            spend, about = unit.spend, {**about, "taken_from": unit.run.name}
        found = [(row.id, *one) for row, one in zip(block, scored(bench.metric, block, answers), strict=True)]
        bench.ledger.commit_block(ticket, spend, line.name, part, found, about)
        told = f"{part}, found in the run {about['taken_from']!r}" if answered else part
        bench.say(line.name, Progress(told, start + len(block), len(rows)))


def by_value(bench: Bench, solution: Any) -> Any:
    """Return a solution that need not know how sure it is, where the metric says that it does not read that."""
    return tersely(solution) if getattr(bench.metric, "by_value", False) else solution


def _answered(
    bench: Bench, line: Line, block: Sequence[Example], which: str, terse: bool
) -> tuple[str, tuple[beside.Unit, list[Prediction]] | None]:
    """Return the content of a block's answers by a fit, and those of another run where the fit was taken over."""
    fit = (bench.ledger.recall(f"{line.key(bench.fingerprint)}/{which}") or {}) if which else {}
    content = block_content(fit.get("content", ""), block, terse)
    if "taken_from" not in fit:
        return content, None
    for unit in bench.beside.find(content):
        answers = beside.answers(unit, [row.id for row in block])
        if answers is not None:
            return content, (unit, answers)
    return content, None


def _block(line: Line) -> int:
    """Return how many rows are answered and kept at a time: few fill two cores, many a GPU."""
    if line.model not in ("causal", "embedder"):
        return BLOCK
    return hardware.at_once(BLOCK, ON_GPU)


def scored(metric: Any, rows: Sequence[Example], answers: Sequence[Prediction]) -> Sequence[tuple[Prediction, Any]]:
    """Return answers with their scores, all at once where the metric can."""
    if hasattr(metric, "score_examples"):
        return list(zip(answers, metric.score_examples(rows, answers), strict=True))
    return [(one, metric.score_example(row, one)) for row, one in zip(rows, answers, strict=True)]
