"""One strategy, fitted and measured: in blocks that are committed whole, within the budget, never taking others down."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.core.model import Spend
from whichway.core.strategy import RESUME, Budget, Kit, Progress, Retrieving, Rewritable, Solution
from whichway.core.task import Example, Metric, Prediction, Task
from whichway.errors import BudgetReached, NotApplicable, ProviderError, WhichwayError
from whichway.study.deadline import until
from whichway.study.kit import CachedEmbedder, FreshEmbedder, ModelShelf, TrialMeter
from whichway.study.ledger import Ledger
from whichway.study.lines import Line, folder_name, needs_embedder
from whichway.study.split import Split

BLOCK = 32
REWRITES = 5
REWRITTEN_ROWS = 10
SINGLE_ROWS = 40
SLOW_SINGLE_ROWS = 10
WARM_ROWS = 2
FEWEST_SINGLES, SINGLES_S = 4, 12.0  # single answers that are timed at least; seconds after which those are enough
MANY_ROWS = 32


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

    @property
    def metric(self) -> Metric:
        return self.task.metric

    def kit(self, line: Line, folder: Path, fresh: bool = False, spare_s: float = 0.0) -> Kit:
        """Return what one strategy may touch; `fresh` leaves the vector cache out; `spare_s` is kept for later work."""
        embedder: Any = FreshEmbedder(self.shelf) if fresh else CachedEmbedder(self.shelf, self.ledger)
        has = line.model == "embedder" or "embedder" in line.strategy.needs or line.model
        budget = Budget(self.deadline - spare_s, self.ledger.usd_cap)
        seed = self.split.seed
        return Kit(self.shelf, embedder if has else None, folder, seed, budget, lambda p: self.say(line.name, p))

    def cut_off(self, line: Line, spare_s: float) -> float:
        """Return when work of a line is cut off; never for an endpoint's, whose calls are metered and look at the clock."""
        return float("inf") if line.model in self.shelf.endpoints else self.deadline - spare_s

    def check_time(self, needed: float = 0.0) -> None:
        """Raise BudgetReached when `needed` seconds are no longer there."""
        if time.monotonic() + needed > self.deadline:
            raise BudgetReached(
                "The time budget is used up.", "Raise budget.minutes (or --budget-minutes) and run again."
            )


def run_trial(bench: Bench, line: Line, spare_s: float) -> None:
    """Fit and measure one line; whatever happens is written down as the trial's end.

    Provider errors of one endpoint end its trials, not the study. `spare_s` seconds are left for certification.
    """
    state = bench.ledger.trial(line.name)
    if state and state[0] == "done":
        return
    bench.meter.trial, bench.meter.phase = line.name, "fit"
    bench.ledger.set_trial(line.name, "running")
    try:
        _measure(bench, line, spare_s)
    except NotApplicable as no:
        bench.ledger.set_trial(line.name, "skipped", no.problem)
    except BudgetReached as end:
        bench.ledger.set_trial(line.name, "stopped", end.problem)
    except ProviderError as error:
        bench.ledger.set_trial(line.name, "failed", f"provider: {error.problem}")
    except WhichwayError as error:
        bench.ledger.set_trial(line.name, "failed", f"{error.problem} {error.fix}".strip())
    except Exception as error:  # one failure never takes the study down; --debug shows it whole
        said = str(error).splitlines()[0] if str(error) else "no message"
        bench.ledger.set_trial(line.name, "failed", f"{type(error).__name__}: {said} (--debug shows where)")
        bench.say(line.name, Progress(f"failed: {type(error).__name__}"))
        if bench.ledger.noted("debug"):
            raise
    else:
        bench.ledger.set_trial(line.name, "done")


def _measure(bench: Bench, line: Line, spare_s: float) -> None:
    for number, fold in enumerate(bench.split.folds):
        bench.meter.phase = "fit"
        train, dev = _pick(bench.rows, fold.train), _pick(bench.rows, fold.dev)
        solution = fitted(bench, line, f"fold-{number}", train, dev, spare_s)
        mine = set(fold.validation)
        order = [bench.rows[id_] for id_ in bench.split.validation if id_ in mine]
        bench.meter.phase = "validation"
        predict_blocks(bench, line, solution, order, "validation", spare_s)
        measure_retrieval(bench, line, solution, order, f"validation-{number}", spare_s)
        if number == 0:
            measure_use(bench, line, order)
    if bench.task.constraints.min_consistency is not None:  # else it decides nothing, and comes when all is decided
        measure_consistency(bench, line, spare_s)


def fitted(
    bench: Bench, line: Line, which: str, train: Sequence[Example], dev: Sequence[Example], spare_s: float = 0.0
) -> Solution:
    """Return the solution of one fold (or 'final'), fitted at most once: what was committed is loaded.

    It is always used as loaded from disk, so that a continued run predicts what an uninterrupted one would.
    """
    key, folder = f"{line.key(bench.fingerprint)}/{which}", solution_folder(bench, line, which)
    if not (bench.ledger.recall(key) and folder.exists()):
        bench.check_time(spare_s)
        bench.say(line.name, Progress("fitting"))
        scratch = folder.with_name(folder.name + ".partial")
        shutil.rmtree(folder, ignore_errors=True)
        _empty(scratch)
        ticket = bench.ledger.reserve(key, line.name, f"{bench.meter.phase}", Spend())
        began = time.monotonic()
        kit = bench.kit(line, scratch, spare_s=spare_s)
        with until(bench.cut_off(line, spare_s)):
            solution = line.strategy.fit(bench.task, train, dev, kit)
        solution.save(scratch)
        shutil.rmtree(scratch / RESUME, ignore_errors=True)
        scratch.rename(folder)
        spend = Spend(seconds=time.monotonic() - began, tokens_in=getattr(solution, "tokens", 0))
        bench.ledger.settle(ticket, spend, {"folder": folder.name})
    return load_solution(bench, line, which)


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
    bench: Bench, line: Line, solution: Solution, rows: Sequence[Example], part: str, spare_s: float = 0.0
) -> None:
    """Predict rows in fixed blocks; each is committed whole with its scores, and done at most once."""
    known = bench.ledger.predictions(line.name, part)
    slowest = 0.0
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        if all(row.id in known for row in block):
            continue
        bench.check_time(spare_s + slowest)
        key = f"{line.key(bench.fingerprint)}/{part}/{block[0].id}"
        ticket = bench.ledger.reserve(key, line.name, part, Spend())
        began = time.monotonic()
        with until(bench.cut_off(line, spare_s)):
            answers = solution.predict([row.inputs for row in block])
        took = time.monotonic() - began
        scored = [(row.id, *one) for row, one in zip(block, _scored(bench.metric, block, answers), strict=True)]
        bench.ledger.commit_block(ticket, Spend(seconds=took), line.name, part, scored)
        slowest = max(slowest, took)
        bench.say(line.name, Progress(part, start + len(block), len(rows)))


def _scored(metric: Any, rows: Sequence[Example], answers: Sequence[Prediction]) -> Sequence[tuple[Prediction, Any]]:
    """Return answers with their scores, all at once where the metric can."""
    if hasattr(metric, "score_examples"):
        return list(zip(answers, metric.score_examples(rows, answers), strict=True))
    return [(one, metric.score_example(row, one)) for row, one in zip(rows, answers, strict=True)]


def measure_retrieval(
    bench: Bench, line: Line, solution: Solution, rows: Sequence[Example], which: str, spare_s: float = 0.0
) -> None:
    """Rank documents for rows whose gold documents are known, where the solution looks any up and time is left."""
    key = f"{line.key(bench.fingerprint)}/retrieval/{which}"
    known = [row for row in rows if row.gold_documents]
    if not known or not isinstance(solution, Retrieving) or bench.ledger.recall(key):
        return
    ticket = bench.ledger.reserve(key, line.name, "retrieval", Spend())
    began = time.monotonic()
    try:
        with until(bench.cut_off(line, spare_s)):
            ranked = solution.ranked([row.inputs for row in known])
    except BudgetReached:  # the answers themselves are complete
        bench.ledger.lose(ticket, "the time budget ended")
        bench.ledger.decide("retrieval not measured", {"strategy": line.name})
        return
    found = {row.id: list(one) for row, one in zip(known, ranked, strict=True)}
    bench.ledger.settle(ticket, Spend(seconds=time.monotonic() - began), {"ranked": found})


def measure_use(bench: Bench, line: Line, rows: Sequence[Example]) -> None:
    """Measure single answers and throughput, without any cache; for an endpoint, from the calls already made."""
    key = f"{line.key(bench.fingerprint)}/use"
    if bench.ledger.recall(key) or not line.is_local:
        return
    bench.say(line.name, Progress("measuring latency"))
    ticket = bench.ledger.reserve(key, line.name, "latency", Spend())
    began = time.monotonic()
    fresh = load_solution(bench, line, "fold-0", fresh=True)
    inputs = [row.inputs for row in rows]
    singles = _singles(fresh, inputs, SLOW_SINGLE_ROWS if line.model == "causal" else SINGLE_ROWS)
    many = inputs[:MANY_ROWS]
    if line.model == "causal":  # nothing of a prompt's answer is cached: the blocks already answered tell its speed
        answered = len(bench.ledger.predictions(line.name, "validation"))
        speed = answered / max(1e-6, sum(bench.ledger.call_seconds(line.name, "validation")))
    else:
        speed = len(many) / _timed(fresh, many)
    facts = {
        "singles_ms": [round(1000 * s, 3) for s in singles],
        "rows_per_s": round(speed, 3),
        "memory_mb": round(_weights_mb(bench, line), 1),
    }
    bench.ledger.note("gpu", [has_gpu()])
    bench.ledger.settle(ticket, Spend(seconds=time.monotonic() - began), facts)


def _singles(solution: Solution, inputs: Sequence[Any], most: int) -> list[float]:
    """Return seconds of single answers after two for warming up: `most` of them, fewer of slow ones."""
    found: list[float] = []
    for one in inputs[: WARM_ROWS + most]:
        found.append(_timed(solution, [one]))
        if len(found) >= WARM_ROWS + FEWEST_SINGLES and sum(found) > SINGLES_S:
            break
    return found[WARM_ROWS:]


def _weights_mb(bench: Bench, line: Line) -> float:
    """Return megabytes of what must be loaded to answer: the models' weights and the solution's own files."""
    own = sum(file.stat().st_size for file in solution_folder(bench, line, "fold-0").rglob("*") if file.is_file())
    models = [bench.shelf[line.model]] if line.model == "causal" else []
    if needs_embedder(line.strategy):
        models.append(bench.shelf.embedder())
    return float(own + sum(one.weight_bytes() for one in models if hasattr(one, "weight_bytes"))) / 1e6


def has_gpu() -> bool:
    """True when local models run on a GPU; asks torch only when it is already loaded."""
    torch = sys.modules.get("torch")
    return bool(torch is not None and torch.cuda.is_available())


def _timed(solution: Solution, inputs: Sequence[Any]) -> float:
    began = time.perf_counter()
    solution.predict(inputs)
    return max(1e-6, time.perf_counter() - began)


def measure_consistency(bench: Bench, line: Line, spare_s: float = 0.0) -> None:
    """Count equal answers under five meaning-preserving rewrites of the prompt, on the first validation rows.

    Where the budget ends meanwhile, the comparison itself stays complete: that is written down, and nothing is raised.
    """
    key = f"{line.key(bench.fingerprint)}/consistency"
    if bench.ledger.recall(key):
        return
    try:
        _reword(bench, line, key, spare_s)
    except BudgetReached:
        bench.ledger.decide("consistency not measured", {"strategy": line.name})


def _reword(bench: Bench, line: Line, key: str, spare_s: float) -> None:
    bench.check_time(spare_s)
    solution = load_solution(bench, line, "fold-0")
    if not isinstance(solution, Rewritable):
        return
    bench.meter.trial, bench.meter.phase = line.name, "consistency"
    mine = set(bench.split.folds[0].validation)
    some = [bench.rows[id_] for id_ in bench.split.validation if id_ in mine]
    some = some[: REWRITTEN_ROWS if line.is_local else REWRITTEN_ROWS // 2]
    ticket = bench.ledger.reserve(key, line.name, "consistency", Spend())
    began = time.monotonic()
    first = _values(solution.predict([row.inputs for row in some]))
    same = []
    for variant in range(1, REWRITES + 1):
        bench.check_time(spare_s)
        bench.say(line.name, Progress("rewriting the prompt", variant, REWRITES))
        other = _values(solution.rewritten(variant).predict([row.inputs for row in some]))
        same.append(sum(a == b for a, b in zip(first, other, strict=True)))
    facts = {"same": same, "rows": len(some)}
    bench.ledger.settle(ticket, Spend(seconds=time.monotonic() - began), facts)


def _values(answers: Sequence[Prediction]) -> list[Any]:
    return [one.value if one.parsed else None for one in answers]


def _pick(rows: dict[str, Example], ids: Sequence[str]) -> list[Example]:
    return [rows[id_] for id_ in ids]
