"""A whole study: split, trials in order, finalists once on the sealed test part, verdict; continued where it was left."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.strategy import Progress
from whichway.core.task import Example, Metric, Task, Teachable
from whichway.errors import BudgetReached, LedgerError, WhichwayError
from whichway.study.bench import Bench, is_begun, solution_folder
from whichway.study.beside import Beside
from whichway.study.certify import MOST_FINALISTS, certify, choose_finalists, measure_seed, test_seconds, wanted
from whichway.study.content import study_content
from whichway.study.decision import keep_decision
from whichway.study.growth import measure_growth
from whichway.study.judging import judge_finalists
from whichway.study.kit import ModelShelf, TrialMeter
from whichway.study.ledger import VERSION, Ledger
from whichway.study.lines import CODE_CONTRACT, Line, Means, make_lines
from whichway.study.measuring import measure_rewrites, measure_steps
from whichway.study.plan import Plan, estimate, make_plan
from whichway.study.pursuit import raced, worth_racing
from whichway.study.split import Split, make_split
from whichway.study.summary import shown_in_detail, summarise, trial_report, validation_score
from whichway.study.trainings import drop_steps
from whichway.study.trial import run_trial

MOST_TEST_SHARE = 0.4  # of the time that is left, at most, is kept for the finalists' test
SURE_SHARE = 0.4  # of an estimate: one that is too high by half must not keep a strategy out
LEAST_SPARE_S = 5.0
CLOSING_S = 4.0  # kept for evidence and report, which come after the last measurement


@dataclass(frozen=True)
class Options:
    """How a study is run. `minutes` and `usd` override the task file; `only` restricts which strategies take part.

    With `exhaustive`, or where strategies were named, every one is run to the end; else a race drops those not worth it,
    and `allocation` says how it spends its time: 'kg' or 'halving' (see study/race.py). Fits and answers that a run in a
    folder beside this one's has made are taken over, at what they cost there; `fresh` makes all of them here.
    """

    minutes: float | None = None
    usd: float | None = None
    only: tuple[str, ...] = ()
    debug: bool = False
    exhaustive: bool = False
    allocation: str = "kg"
    command: str = "whichway run task.yaml"
    fresh: bool = False


@dataclass(frozen=True)
class Watcher:
    """Who is told what happens: the plan, progress within a trial, and each trial's end as report data."""

    planned: Callable[[Plan], None] = lambda _: None
    progress: Callable[[str, Progress], None] = lambda _, __: None
    ended: Callable[[Mapping[str, Any]], None] = lambda _: None


def run_study(loaded: Any, folder: Path, options: Options, watcher: Watcher) -> dict[str, Any]:
    """Run or continue the study of a loaded task in `folder`; return the report.

    Raises LedgerError when the folder holds another study. A budget that ends early still gives a report,
    whose `state` is then 'budget'; after a KeyboardInterrupt it is 'interrupted'.
    """
    settings = loaded.settings
    usd = settings.budget.usd if options.usd is None else options.usd
    minutes = settings.budget.minutes if options.minutes is None else options.minutes
    lines = make_lines(loaded.task, settings, options.only, Means(usd, minutes))
    ledger = Ledger(folder, usd)
    try:
        near = Beside(None if options.fresh else folder)
        bench = make_bench(loaded, ledger, minutes * 60 - CLOSING_S, watcher.progress, near)
        _same_study(bench, loaded)
        ledger.note("debug", options.debug)
        ledger.note("minutes", minutes)
        if ledger.noted("started") is None:
            ledger.note("started", time.strftime("%Y-%m-%dT%H:%M:%S%z"))
        plan = make_plan(bench.task, loaded.examples, bench.split, lines, settings)
        if ledger.noted("planned") is None:
            ledger.note("planned", {"usd": round(plan.usd, 6), "most_usd": round(plan.most_usd, 6)})
        watcher.planned(plan)
        try:
            race = "" if options.exhaustive or options.only else options.allocation
            state = _run_all(bench, lines, loaded, watcher, race)
            if options.exhaustive:  # the dearest last, as nothing else rests on them
                measure_growth(bench, all_lines(bench, loaded, lines), thorough=True)
        except KeyboardInterrupt:
            state = "interrupted"
        everyone = all_lines(bench, loaded, lines)
        report = summarise(bench, loaded, everyone, state, options.command)
        ledger.note("state", state)
        keep_decision(bench, everyone, report["labels"])
        if report["recommendation"]["strategy"]:
            ledger.decide("recommended", {"strategy": report["recommendation"]["strategy"]})
        return report
    finally:
        drop_steps(folder)
        ledger.close()


def make_bench(
    loaded: Any,
    ledger: Ledger,
    seconds: float,
    say: Callable[[str, Progress], None] = lambda _, __: None,
    near: Beside | None = None,
) -> Bench:
    """Lay out what trials share; the deadline counts the time of earlier sessions, too."""

    def told(name: str, progress: Progress) -> None:
        ledger.tick()
        say(name, progress)

    deadline = time.monotonic() + seconds - ledger.earlier_seconds()
    meter = TrialMeter(ledger, deadline)
    rows, split = (
        {row.id: row for row in loaded.examples},
        make_split(loaded.examples, loaded.test, loaded.settings.seed),
    )
    shelf = ModelShelf(
        loaded.settings,
        lambda: meter,
        loaded.task.constraints.privacy == "local",
        in_study=True,
        say=lambda what: told("causal", Progress(what, is_news=True)),
    )
    return Bench(
        task=taught(loaded.task, rows, split),
        rows=rows,
        test={row.id: row for row in (loaded.test if loaded.test is not None else loaded.examples)},
        split=split,
        ledger=ledger,
        shelf=shelf,
        meter=meter,
        deadline=deadline,
        fingerprint=loaded.fingerprint,
        say=told,
        content=study_content(loaded.task, shelf, split.seed),
        beside=near or Beside(),
    )


def taught(task: Task, rows: Mapping[str, Example], split: Split) -> Task:
    """Let metrics that learn do so, from train rows alone; under cross-fitting from all rows outside the test part."""
    ids = split.learning if len(split.folds) > 1 else (*split.folds[0].train, *split.folds[0].dev)
    examples = [rows[id_] for id_ in ids]

    def told(metric: Metric) -> Metric:
        return metric.taught(examples) if isinstance(metric, Teachable) else metric

    return replace(task, metric=told(task.metric), further=tuple(told(one) for one in task.further))


def all_lines(bench: Bench, loaded: Any, lines: Sequence[Line]) -> list[Line]:
    """Return these lines and those that an earlier command of this study has run."""
    chosen = {line.name for line in lines}
    chosen_all = loaded.settings.strategies.model_copy(update={"only": (), "skip": ()})
    every = make_lines(loaded.task, loaded.settings.model_copy(update={"strategies": chosen_all}))
    kept = {line.name: line for line in lines}
    for line in every:
        before = bench.ledger.trial(line.name)
        # One that was measured in another form, such as under an earlier instruction, is not compared with the others.
        if line.name not in chosen and before and before[2].get("key") in (None, line.key(bench.fingerprint)):
            kept[line.name] = line
    return [kept[line.name] for line in every if line.name in kept] + [
        line for line in lines if line.name not in {e.name for e in every}
    ]


def _same_study(bench: Bench, loaded: Any) -> None:
    """Note what the study is about, or refuse a folder that is about something else."""
    ledger, split = bench.ledger, bench.split
    identity = {"fingerprint": loaded.fingerprint, "seed": split.seed, "contract": CODE_CONTRACT, "ledger": VERSION}
    identity["split"] = split.fingerprint
    before = ledger.noted("identity")
    if before is None:
        ledger.note("identity", identity)
    elif before != identity:
        changed = [name for name, value in identity.items() if before.get(name) != value]
        what = {
            "fingerprint": "the task file or a data file has changed",
            "seed": "the seed has changed",
            "split": "the rows are split in another way",
            "contract": "whichway has changed how it predicts",
            "ledger": "the ledger is of another version",
        }
        raise LedgerError(
            f"{ledger.folder} holds another study: {'; '.join(what[name] for name in changed)}.",
            "Give this run another --out, or undo the change; nothing was overwritten.",
        )


def _run_all(bench: Bench, lines: Sequence[Line], loaded: Any, watcher: Watcher, race: str) -> str:
    """Run all trials that are worth it, then certify; return 'finished' or 'budget'."""
    settled, order = _raced(bench, lines, loaded, race) if race else (set(), ())
    for line in (one for one in lines if one.name in settled):  # at once: who is kept may take minutes yet
        watcher.ended(trial_report(bench, line))
    for line in sorted(lines, key=lambda line: order.index(line.name) if line.name in order else -1):
        if line.name in settled or _is_at(bench, line, ("done",)):
            continue
        _run_line(bench, line, lines, loaded, order)
        watcher.ended(trial_report(bench, line))
    everyone = all_lines(bench, loaded, lines)
    complete = _certify_all(bench, everyone, choose_finalists(bench, everyone))
    _measure_last(bench, everyone, measure_seed, "seed not tested")
    complete &= judge_finalists(bench, loaded.settings.judge, shown_in_detail(bench, everyone))
    measure_growth(bench, everyone)
    _measure_last(bench, everyone, measure_steps, "steps not measured")
    _reword_prompts(bench, everyone)
    stopped = any(one and one[0] == "stopped" for one in (bench.ledger.trial(line.name) for line in lines))
    return "budget" if stopped or not complete else "finished"


def _raced(bench: Bench, lines: Sequence[Line], loaded: Any, allocation: str) -> tuple[set[str], tuple[str, ...]]:
    """Race what is open; return the lines on which nothing more is to be spent by this command, and an order for the others.

    What an earlier command's race has dropped stays so, unless the minutes of the budget have grown: then it is raced again,
    against those that were run to their end.
    """
    dropped = {line.name for line in lines if _is_at(bench, line, ("dropped",))}
    before: dict[str, Any] = next((said for what, said in reversed(bench.ledger.decisions()) if what == "race"), {})
    is_larger = float(bench.ledger.noted("minutes") or 0.0) > before.get("minutes", float("inf"))
    if dropped and not is_larger:
        return dropped, tuple(before.get("order", ()))
    open_ = [line for line in lines if not line.excluded and not _is_at(bench, line, ("done",))]
    rivals = [line for line in lines if dropped and _is_at(bench, line, ("done",))]
    if not worth_racing(bench, [*open_, *rivals], loaded):
        return set(), ()
    for line in open_:
        _forget_if_changed(bench, line)
    found = raced(bench, [*open_, *rivals], loaded, lambda: _spare_seconds(bench, lines), allocation)
    for name, reason in found.dropped.items():
        bench.ledger.set_trial(name, "dropped", reason)
    return {*found.dropped, *found.ended}, found.order


def _is_at(bench: Bench, line: Line, states: Sequence[str]) -> bool:
    """Tell whether this trial, as it is now, has ended in one of these states."""
    before = bench.ledger.trial(line.name)
    return bool(before and before[0] in states and before[2].get("key") == line.key(bench.fingerprint))


def _run_line(bench: Bench, line: Line, lines: Sequence[Line], loaded: Any, order: Sequence[str] = ()) -> None:
    if line.excluded:
        bench.ledger.set_trial(line.name, "skipped", line.excluded)
        return
    _forget_if_changed(bench, line)
    spare = _spare_seconds(bench, lines, order)
    expected = estimate(bench.task, loaded.examples, bench.split, line, loaded.settings).seconds
    left = bench.deadline - time.monotonic() - spare
    if SURE_SHARE * expected > left and not is_begun(bench, line):
        reason = (
            f"would take about {expected:.0f} s, and {max(0.0, left):.0f} s are left; raise the budget and run again"
        )
        bench.ledger.set_trial(line.name, "stopped", reason)
        return
    run_trial(bench, line, spare)


def _spare_seconds(bench: Bench, lines: Sequence[Line], order: Sequence[str] = ()) -> float:
    """Return the seconds kept for the test of the three best so far: certification is reserved first (methods.md §2).

    `order` names who a race has kept, the most promising first: they count before they have answered all validation rows.
    """
    if not bench.split.test:
        return 0.0
    names = wanted(bench, lines)
    names += [name for name in order if name not in names][: max(0, MOST_FINALISTS - len(names))]
    needed = sum(test_seconds(bench, name) for name in names)
    left = bench.deadline - time.monotonic()
    return max(LEAST_SPARE_S, min(1.2 * needed, MOST_TEST_SHARE * left))


def _certify_all(bench: Bench, lines: Sequence[Line], names: Sequence[str]) -> bool:
    """Certify finalists one after the other; one that fails does not take the others down. False: the budget ended."""
    for line in (one for name in names for one in lines if one.name == name):
        try:
            certify(bench, line)
        except BudgetReached as end:
            bench.ledger.decide("certification stopped", {"strategy": line.name, "reason": end.problem})
            return False
        except Exception as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            bench.ledger.decide("certification failed", {"strategy": line.name, "reason": said})
            if bench.ledger.noted("debug"):
                raise
    return True


def _measure_last(bench: Bench, lines: Sequence[Line], measure: Callable[[Bench, Line], Any], otherwise: str) -> None:
    """Measure of each way what decides nothing, once all are certified; where it cannot be, that is written down."""
    for line in lines:
        try:
            measure(bench, line)
        except WhichwayError as error:
            bench.ledger.decide(otherwise, {"strategy": line.name, "reason": error.problem})


def _reword_prompts(bench: Bench, lines: Sequence[Line]) -> None:
    """Measure last, the best ways first, whose answers stay the same when their prompt is reworded."""
    scores = {line.name: validation_score(bench, line) for line in lines}
    for line in sorted(lines, key=lambda one: -(scores[one.name] or 0.0)):
        if scores[line.name] is None:
            continue
        try:
            measure_rewrites(bench, line)
        except WhichwayError as error:
            bench.ledger.decide("consistency not measured", {"strategy": line.name, "reason": error.problem})


def _forget_if_changed(bench: Bench, line: Line) -> None:
    """A strategy whose settings were edited is a new trial: its old end does not count for it."""
    key, state = line.key(bench.fingerprint), bench.ledger.trial(line.name)
    if state and state[2].get("key") not in (None, key):
        bench.ledger.forget_trial(line.name)
        shutil.rmtree(solution_folder(bench, line, "fold-0").parent, ignore_errors=True)
    bench.ledger.set_trial(line.name, "running", facts={"key": key})
