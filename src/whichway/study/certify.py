"""At most three finalists, refitted on all labels outside the test part, once on the sealed test part (methods.md §1, G2)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from whichway.core.strategy import Improved
from whichway.errors import BudgetReached
from whichway.study.bench import Bench, fit_seconds, fitted, load_solution, predict_blocks
from whichway.study.evidence import LEVEL, joint_samples
from whichway.study.facts import use_facts
from whichway.study.lines import Line
from whichway.study.measuring import keep_version, measure_certified, measure_retrieval
from whichway.study.recommend import Candidate, pick_finalists
from whichway.study.split import DEV_SHARE, ENOUGH_TEST

LEAST_TEST = 100  # fewer rows than this certify nothing
MOST_FINALISTS = 3
LARGE_TEST = 1000  # rows that are enough of a slow strategy: an interval of five points
SLOW_TEST_S = 60.0
TEST_SEED = "test-seed"  # the part that holds a seed's answers to test rows
SAFE = 0.85  # of the time that is left: speeds were measured on few rows


def level_of_each(finalists: int) -> float:
    """Return the level of each finalist's interval at which all of them hold together with 95 % (Bonferroni; G2)."""
    return 1 - (1 - LEVEL) / max(1, finalists)


def opened(bench: Bench) -> dict[str, str]:
    """Return for whom the test part was opened: name -> key of the trial as it was then."""
    found: dict[str, str] = {}
    for what, details in bench.ledger.decisions():
        if what == "test part opened":
            found.update(details["finalists"])
    return found


def finalists_of(bench: Bench, lines: Sequence[Line]) -> list[str]:
    """Return the finalists that still are what the test part was opened for."""
    keys = opened(bench)
    return [line.name for line in lines if keys.get(line.name) == line.key(bench.fingerprint)]


def choose_finalists(bench: Bench, lines: Sequence[Line]) -> list[str]:
    """Choose finalists on validation; write down that the test part is opened for them.

    It is opened for at most three trials in the life of a study, each once: a strategy that is edited and run again
    after it was certified is not certified again.
    """
    keys = opened(bench)
    if not bench.split.test:
        return []
    by_name = {line.name: line.key(bench.fingerprint) for line in lines}
    picks = [name for name in wanted(bench, lines) if name not in keys][: MOST_FINALISTS - len(keys)]
    if picks:
        chosen = {name: by_name[name] for name in picks}
        bench.ledger.decide("test part opened", {"finalists": chosen, "rows": len(bench.split.test)})
    return sorted(finalists_of(bench, lines), key=lambda name: test_seconds(bench, name))


def wanted(bench: Bench, lines: Sequence[Line]) -> list[str]:
    """Return whom validation alone would send to the test part now, the best first."""
    return pick_finalists(bench.task, candidates(bench, lines, "validation"))


def certified(bench: Bench, lines: Sequence[Line]) -> list[str]:
    """Return the finalists that have answered all the test rows that they were to answer."""
    found = []
    for name in finalists_of(bench, lines):
        how = certified_as(bench, name)
        if how and len(bench.ledger.predictions(name, "test")) >= how["rows"]:
            found.append(name)
    return found


def judged_on(bench: Bench, lines: Sequence[Line]) -> tuple[str, list[Line]]:
    """Return the part that the verdict rests on, and the strategies judged on it.

    The test part decides only when the best of validation, and someone to compare it with, are certified to the end;
    else the verdict rests on validation and carries no certificate.
    """
    done, names = wanted(bench, lines), certified(bench, lines)
    if done and done[0] in names and (len(names) > 1 or len(done) == 1):
        return "test", [line for line in lines if line.name in names]
    return "validation", list(lines)


def candidates(bench: Bench, lines: Sequence[Line], part: str) -> list[Candidate]:
    """Return what the decision looks at, over the rows that all of them have answered in this part."""
    answered = {}
    for line in lines:
        state = bench.ledger.trial(line.name)
        if state and state[0] == "done":
            found = bench.ledger.predictions(line.name, part)
            if found:
                answered[line.name] = found
    common = common_rows(bench, answered, part)
    if not common:
        return []
    scores = {name: [found[id_][1] for id_ in common] for name, found in answered.items()}
    rows = bench.test if part == "test" else bench.rows
    samples = joint_samples(bench.metric, scores, [rows[id_].group for id_ in common], bench.split.seed)
    order = {line.name: i for i, line in enumerate(lines)}
    by_name = {line.name: line for line in lines}
    return [
        Candidate(name, samples[name], order=order[name], **use_facts(bench, by_name[name], answered[name]))
        for name in answered
    ]


def common_rows(bench: Bench, answered: dict[str, Any], part: str) -> list[str]:
    """Return the ids that every strategy has answered, in the study's order."""
    order = bench.split.test if part == "test" else bench.split.validation
    return [id_ for id_ in order if all(id_ in found for found in answered.values())] if answered else []


def certify(bench: Bench, line: Line) -> None:
    """Refit a finalist on train and validation, and answer the test part.

    When time does not allow a refit, the solution that was compared is certified as it is; when it does not allow all
    test rows, the first ones of their random order are answered. The report says so.
    """
    bench.meter.trial, bench.meter.phase = line.name, "refit"
    how = certified_as(bench, line.name)
    which = how["solution"] if how else _which(bench, line)
    if which == "final":
        learning = [bench.rows[id_] for id_ in bench.split.learning]
        dev_ids = set(bench.split.folds[0].dev) or {row.id for row in learning[: round(DEV_SHARE * len(learning))]}
        train = [row for row in learning if row.id not in dev_ids]
        dev = [row for row in learning if row.id in dev_ids]
        try:
            fitted(bench, line, "final", train, dev, test_seconds(bench, line.name))
        except BudgetReached:
            which = "fold-0"
    count = how["rows"] if how and how["solution"] == which else _affordable(bench, line)
    bench.ledger.decide("certified", {"strategy": line.name, "solution": which, "rows": count})
    bench.meter.phase = "test"
    rows = [bench.test[id_] for id_ in bench.split.test[:count]]
    solution = load_solution(bench, line, which)
    predict_blocks(bench, line, solution, rows, "test", which=which)
    measure_certified(bench, line, solution, rows)
    measure_retrieval(bench, line, solution, rows, "test")


def measure_seed(bench: Bench, line: Line) -> None:
    """Answer the test rows of a certified finalist that was searched for with the seed of its search, too.

    The seed is no finalist: it is compared with what the search made of it, and decides nothing. Raises BudgetReached where
    time or money end meanwhile.
    """
    how = certified_as(bench, line.name)
    if not how or not bench.ledger.predictions(line.name, "seed"):
        return
    solution = load_solution(bench, line, how["solution"])
    if not isinstance(solution, Improved):
        return
    bench.meter.trial, bench.meter.phase = line.name, TEST_SEED
    rows = [bench.test[id_] for id_ in bench.split.test[: how["rows"]]]
    predict_blocks(bench, line, solution.seed(), rows, TEST_SEED)
    answered = bench.ledger.predictions(line.name, TEST_SEED)
    keep_version(
        bench, line, solution.seed(), [answered[row.id][1] for row in rows], "test", change="seed, no finalist"
    )


def certified_as(bench: Bench, name: str) -> dict[str, Any] | None:
    """Return which solution of a finalist was certified ('final' is refitted, 'fold-0' is not) and on how many rows."""
    found = [one for what, one in bench.ledger.decisions() if what == "certified" and one["strategy"] == name]
    return found[-1] if found else None


def _affordable(bench: Bench, line: Line) -> int:
    """Return how many test rows fit into what is left, but never fewer than make a certificate worth having.

    A slow strategy is not asked for thousands: how many it answers follows from its speed alone, never from its answers.
    """
    size, needed = len(bench.split.test), test_seconds(bench, line.name)
    if needed > SLOW_TEST_S:
        most = min(size, max(LARGE_TEST, int(size * SLOW_TEST_S / needed)))
        size, needed = most, needed * most / size
    left = SAFE * (bench.deadline - time.monotonic())
    return size if needed <= left else min(size, max(ENOUGH_TEST, int(size * left / needed)))


def _which(bench: Bench, line: Line) -> str:
    """Say whether a refit fits into what is left, with a test of enough rows for every finalist after it."""
    fits = fit_seconds(bench, line.name) or [0.0]
    grown = len(bench.split.learning) / max(1, len(bench.split.folds[0].train) + len(bench.split.folds[0].dev))
    left = [name for name in opened(bench) if not bench.ledger.predictions(name, "test")]
    share = min(1.0, ENOUGH_TEST / max(1, len(bench.split.test)))
    needed = 1.2 * grown * max(fits) + share * sum(test_seconds(bench, name) for name in left)
    return "final" if time.monotonic() + needed < bench.deadline else "fold-0"


def test_seconds(bench: Bench, name: str) -> float:
    """Estimate how long a strategy takes for the test part, from its validation blocks."""
    blocks = bench.ledger.call_seconds(name, "validation")
    rows = len(bench.ledger.predictions(name, "validation"))
    return sum(blocks) / max(1, rows) * len(bench.split.test)
