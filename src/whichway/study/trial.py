"""One strategy, fitted and measured: within the budget, its end always written down, never taking others down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from whichway.core.strategy import Progress
from whichway.core.task import Example
from whichway.errors import BudgetReached, NotApplicable, ProviderError, WhichwayError
from whichway.study.bench import Bench, fitted, predict_blocks
from whichway.study.lines import Line
from whichway.study.measuring import measure_prompts, measure_retrieval, measure_rewrites, measure_use


def run_trial(bench: Bench, line: Line, spare_s: float) -> None:
    """Fit and measure one line; whatever happens is written down as the trial's end.

    Provider errors of one endpoint end its trials, not the study. `spare_s` seconds are left for certification.
    """
    state = bench.ledger.trial(line.name)
    if state and state[0] == "done":
        return
    if guarded(bench, line, lambda: _measure(bench, line, spare_s)):
        bench.ledger.set_trial(line.name, "done")


def guarded(bench: Bench, line: Line, work: Callable[[], None]) -> bool:
    """Do work of one line; False when it ended early, which is then written down as the trial's end."""
    bench.meter.trial, bench.meter.phase = line.name, "fit"
    bench.ledger.set_trial(line.name, "running")
    try:
        work()
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
        return True
    return False


def _measure(bench: Bench, line: Line, spare_s: float) -> None:
    for number, fold in enumerate(bench.split.folds):
        bench.meter.phase = "fit"
        train, dev = _pick(bench.rows, fold.train), _pick(bench.rows, fold.dev)
        solution = fitted(bench, line, f"fold-{number}", train, dev, spare_s)
        mine = set(fold.validation)
        order = [bench.rows[id_] for id_ in bench.split.validation if id_ in mine]
        bench.meter.phase = "validation"
        predict_blocks(bench, line, solution, order, "validation", spare_s, f"fold-{number}")
        measure_prompts(bench, line, solution, order, spare_s)
        measure_retrieval(bench, line, solution, order, f"validation-{number}", spare_s)
        if number == 0:
            measure_use(bench, line, order)
    if bench.task.constraints.min_consistency is not None:  # else it decides nothing, and comes when all is decided
        measure_rewrites(bench, line, spare_s)


def _pick(rows: dict[str, Example], ids: Sequence[str]) -> list[Example]:
    return [rows[id_] for id_ in ids]
