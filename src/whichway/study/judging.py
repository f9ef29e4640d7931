"""A model as judge of the finalists' texts, beside the metric that decides, and how far people agree with it."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from whichway.core.model import Spend
from whichway.core.strategy import Progress
from whichway.core.task import Example, Prediction
from whichway.errors import BudgetReached, WhichwayError
from whichway.metrics import judge as judging
from whichway.study.bench import Bench

JUDGED = 3  # strategies at most
FAILED = "judging failed"


def judge_finalists(bench: Bench, settings: Any, names: Sequence[str]) -> bool:
    """Let the task file's judge compare and grade the finalists' texts; False when the budget ended.

    It is first asked about what people have answered already: each row's own answer against a rejected one, or another
    row's. Its agreement with them is told with every figure of it.
    """
    if settings is None or not names:
        return True
    bench.meter.trial, bench.meter.phase = "judge", "judge"
    try:
        for key, what, work in _jobs(bench, settings, names):
            _once(bench, key, what, work)
    except BudgetReached as end:
        bench.ledger.decide("judging stopped", {"reason": end.problem})
        return False
    except WhichwayError as error:  # no key, no price, nothing may leave: the study stands without its judge
        bench.ledger.decide(FAILED, {"reason": f"{error.problem} {error.fix}".strip()})
    return True


def judge_report(bench: Bench, settings: Any, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the judge's verdicts and its agreement with people; None without a judge, or before it has been asked."""
    if settings is None:
        return None
    found = {key: bench.ledger.recall(key) for key, _, _ in _jobs(bench, settings, names)}
    known = {key.split("/")[1]: one for key, one in found.items() if one}
    if "agreement" not in known:
        return None
    rows = _rows(bench, settings, names)
    people = {row.id: _people(i) for i, row in enumerate(rows)}
    said = known["agreement"]["verdicts"]
    agreed = judging.agreement(said, people)
    graded = {key.removeprefix("grade:"): _mean_grade(one) for key, one in known.items() if key.startswith("grade:")}
    return {
        "model": settings.model,
        "part": _part(bench),
        "n": len(rows),
        "rejected": sum(bool(row.rejected) for row in rows),
        "agreement": {name: round(float(value), 6) for name, value in agreed.items()},
        "one_sided": round(sum(one["orders"][0] != one["orders"][1] for one in said) / len(said), 6),
        "pair": _pair(known.get("pair"), names),
        "grades": graded,
    }


def judge_problem(bench: Bench, settings: Any) -> str:
    """Return why the judge was not asked, or gave up; '' where it was asked, or where there is none."""
    failed = [one["reason"] for what, one in bench.ledger.decisions() if what == FAILED]
    return f"{settings.model} was not asked: {failed[-1]}" if settings is not None and failed else ""


def _jobs(bench: Bench, settings: Any, names: Sequence[str]) -> list[tuple[str, str, Callable[[], Any]]]:
    """Return (key, what, work) of each thing the judge is asked; the agreement with people first."""
    rows = _rows(bench, settings, names)
    if not rows:
        return []
    own = [Prediction(row.target, 1.0) for row in rows]
    other = [_worse(row, i, own) for i, row in enumerate(rows)]
    criteria, rubric = settings.criteria or judging.CRITERIA, settings.rubric or judging.RUBRIC
    known = {name: bench.ledger.predictions(name, _part(bench)) for name in names[:JUDGED]}
    said = {name: [one[row.id][0] for row in rows] for name, one in known.items()}
    first = [own[i] if _people(i) == "a" else other[i] for i in range(len(rows))]
    second = [other[i] if _people(i) == "a" else own[i] for i in range(len(rows))]
    model = bench.shelf  # asked for its model only where something is to be judged

    def pairs(ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> Callable[[], Any]:
        return lambda: judging.judge_pairs(model[settings.model], rows, ours, theirs, criteria, False)

    def grades(ours: Sequence[Prediction]) -> Callable[[], Any]:
        return lambda: judging.judge_by_rubric(model[settings.model], rows, ours, rubric, False)

    jobs = [("agreement", pairs(first, second))]
    jobs += [("pair", pairs(said[names[0]], said[names[1]]))] if len(names) > 1 else []
    jobs += [(f"grade:{name}", grades(one)) for name, one in said.items()]
    jobs += [("grade:people's own answers", grades(own)), ("grade:another row's answer", grades(other))]
    about = [
        settings.model_dump(mode="json"),
        [row.id for row in rows],
        bench.task.instruction,
        {n: [p.value for p in s] for n, s in said.items()},
    ]
    digest = hashlib.sha256(json.dumps([bench.fingerprint, about], sort_keys=True).encode()).hexdigest()
    return [(f"judge {digest}/{what}", what, work) for what, work in jobs]


def _worse(row: Example, at: int, own: Sequence[Prediction]) -> Prediction:
    """Return an answer that people found worse than a row's own: one they rejected, or where there is none another row's."""
    if row.rejected:
        return Prediction(row.rejected[0], 1.0)
    return next((two for two in (*own[at + 1 :], *own[:at]) if two.value != own[at].value), own[at])


def _once(bench: Bench, key: str, what: str, work: Callable[[], Any]) -> None:
    if bench.ledger.recall(key):
        return
    bench.check_time()
    bench.say("judge", Progress(what.replace(":", " ")))
    ticket = bench.ledger.reserve(key, "judge", "judge", Spend())
    began = time.monotonic()
    verdicts = work()
    bench.ledger.settle(ticket, Spend(seconds=time.monotonic() - began), {"verdicts": verdicts})


def _part(bench: Bench) -> str:
    return "test" if bench.split.test else "validation"


def _rows(bench: Bench, settings: Any, names: Sequence[str]) -> list[Example]:
    """Return the rows that are judged: those with an answer that all of these strategies have answered."""
    part = _part(bench)
    rows = bench.test if part == "test" else bench.rows
    answered = [bench.ledger.predictions(name, part) for name in names[:JUDGED]]
    ids = [id_ for id_ in getattr(bench.split, part) if rows[id_].target and all(id_ in one for one in answered)]
    return [rows[id_] for id_ in ids[: settings.rows]] if answered and len(ids) > 1 else []


def _people(number: int) -> str:
    """Return on which side people's own answer stands: on both equally often, in an order that is no pattern."""
    return "ab"[random.Random(f"side {number}").random() < 0.5]


def _pair(found: Any, names: Sequence[str]) -> dict[str, Any] | None:
    if not found:
        return None
    said = [one["verdict"] for one in found["verdicts"]]
    return {
        "a": names[0],
        "b": names[1],
        "a_wins": said.count("a"),
        "b_wins": said.count("b"),
        "ties": said.count("tie"),
    }


def _mean_grade(found: Any) -> dict[str, Any]:
    known = [one["verdict"] for one in found["verdicts"] if one["verdict"] is not None]
    return {"grade": round(sum(known) / len(known), 3) if known else None, "n": len(known)}
