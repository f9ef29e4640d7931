"""A whole study: split, trials in order, finalists once on the sealed test part, verdict; continued where it was left."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.core.strategy import Progress
from whichway.errors import BudgetReached, LedgerError
from whichway.study.certify import certify, choose_finalists, finalists_of
from whichway.study.kit import ModelShelf, TrialMeter
from whichway.study.ledger import VERSION, Ledger
from whichway.study.lines import CODE_CONTRACT, Line, make_lines
from whichway.study.plan import Plan, make_plan
from whichway.study.split import make_split
from whichway.study.summary import summarise, trial_report
from whichway.study.trial import Bench, run_trial

TEST_SHARE = 0.25  # of the time that is left, kept for the finalists' test (methods.md §2: reserved first)
LEAST_SPARE_S = 5.0
CLOSING_S = 4.0  # kept for evidence and report, which come after the last measurement


@dataclass(frozen=True)
class Options:
    """How a study is run. `minutes` and `usd` override the task file; `only` restricts which strategies take part."""

    minutes: float | None = None
    usd: float | None = None
    only: tuple[str, ...] = ()
    debug: bool = False
    command: str = "whichway run task.yaml"


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
    lines = make_lines(loaded.task, settings, options.only)
    ledger = Ledger(folder, usd)
    try:
        bench = make_bench(loaded, ledger, minutes * 60 - CLOSING_S, watcher.progress)
        _same_study(bench, loaded)
        ledger.note("debug", options.debug)
        if ledger.noted("started") is None:
            ledger.note("started", time.strftime("%Y-%m-%dT%H:%M:%S%z"))
        watcher.planned(make_plan(loaded.task, loaded.examples, bench.split, lines, settings))
        try:
            state = _race(bench, lines, watcher)
        except KeyboardInterrupt:
            state = "interrupted"
        everyone = all_lines(bench, loaded, lines)
        report = summarise(bench, loaded, everyone, state, options.command)
        ledger.note("state", state)
        if report["recommendation"]["strategy"]:
            ledger.decide("recommended", {"strategy": report["recommendation"]["strategy"]})
        return report
    finally:
        ledger.close()


def make_bench(
    loaded: Any, ledger: Ledger, seconds: float, say: Callable[[str, Progress], None] = lambda _, __: None
) -> Bench:
    """Lay out what trials share; the deadline counts the time of earlier sessions, too."""
    meter = TrialMeter(ledger)
    return Bench(
        task=loaded.task,
        rows={row.id: row for row in loaded.examples},
        test={row.id: row for row in (loaded.test if loaded.test is not None else loaded.examples)},
        split=make_split(loaded.examples, loaded.test, loaded.settings.seed),
        ledger=ledger,
        shelf=ModelShelf(loaded.settings, lambda: meter),
        meter=meter,
        deadline=time.monotonic() + seconds - ledger.earlier_seconds(),
        fingerprint=loaded.fingerprint,
        say=say,
    )


def all_lines(bench: Bench, loaded: Any, lines: Sequence[Line]) -> list[Line]:
    """Return these lines and those that an earlier command of this study has run."""
    chosen = {line.name for line in lines}
    every = make_lines(
        loaded.task, loaded.settings.model_copy(update={"strategies": type(loaded.settings.strategies)()})
    )
    kept = {line.name: line for line in lines}
    for line in every:
        if line.name not in chosen and bench.ledger.trial(line.name):
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


def _race(bench: Bench, lines: Sequence[Line], watcher: Watcher) -> str:
    """Run all trials, then certify; return 'finished' or 'budget'."""
    for line in lines:
        before = bench.ledger.trial(line.name)
        if line.excluded:
            bench.ledger.set_trial(line.name, "skipped", line.excluded)
        else:
            _forget_if_changed(bench, line)
            spare = max(LEAST_SPARE_S, TEST_SHARE * (bench.deadline - time.monotonic())) if bench.split.test else 0.0
            run_trial(bench, line, spare)
        if before is None or before[0] != "done":
            watcher.ended(trial_report(bench, line))
    try:
        for name in finalists_of(bench) or choose_finalists(bench, lines):
            for line in (one for one in lines if one.name == name):
                certify(bench, line)
    except BudgetReached as end:
        bench.ledger.decide("certification stopped", {"reason": end.problem})
        return "budget"
    ended = [bench.ledger.trial(line.name) for line in lines]
    return "budget" if any(one and one[0] == "stopped" for one in ended) else "finished"


def _forget_if_changed(bench: Bench, line: Line) -> None:
    """A strategy whose settings were edited is a new trial: its old end does not count for it."""
    key, state = line.key(bench.fingerprint), bench.ledger.trial(line.name)
    if state and state[2].get("key") not in (None, key):
        bench.ledger.forget_trial(line.name)
        shutil.rmtree(bench.ledger.folder / "trials" / line.name, ignore_errors=True)
        state = None
    if state is None:
        bench.ledger.set_trial(line.name, "running", facts={"key": key})
