"""What is measured of a solution besides its answers: retrieval, single answers and throughput, other forms of its prompt."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from whichway.core.model import Spend
from whichway.core.strategy import (
    REWRITES,
    Choosing,
    Distilling,
    Improved,
    Progress,
    Prompted,
    PromptVersion,
    Retrieving,
    Rewritable,
    Solution,
    Staged,
)
from whichway.core.task import Example, Prediction
from whichway.errors import BudgetReached
from whichway.study.bench import Bench, by_value, load_solution, predict_blocks, scored, solution_folder
from whichway.study.deadline import until
from whichway.study.lines import Line, in_use, uses_embedder

REWRITTEN_ROWS, PAID_ROWS = 16, 5  # rows that are answered under each other form of a prompt
REWRITTEN_S = 15.0  # of one strategy, after which no further form is begun
SINGLE_ROWS = 40
SLOW_SINGLE_ROWS = 10
WARM_ROWS = 2
FEWEST_SINGLES, SINGLES_S = 4, 12.0  # single answers that are timed at least; seconds after which those are enough
MANY_ROWS = 32
IN_STEPS, LOOKUP, PROMPT, TAUGHT = "in steps", "lookup", "prompt", "taught"  # facts of a trial
AGAIN = "fitted again on all labels"  # how a finalist's prompt came of the one that was compared


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
    if uses_embedder(in_use(line.strategy)):
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


def measure_prompts(bench: Bench, line: Line, solution: Solution, rows: Sequence[Example], spare_s: float) -> None:
    """Keep the prompt in use with its score, and measure the seed of one that was searched for on the same rows.

    What a way says of itself is kept beside it: that it goes in steps, how it chose what documents it finds, what taught it.
    """
    answered = bench.ledger.predictions(line.name, "validation")
    if isinstance(solution, Prompted):
        scores = [answered[row.id][1] for row in rows if row.id in answered]
        used = keep_version(bench, line, solution, scores)
        state = bench.ledger.trial(line.name)
        known = state[2].get(PROMPT) if state else None  # of the first fold
        bench.ledger.set_trial(line.name, "running", facts={PROMPT: known or used})
    if isinstance(solution, Improved):
        bench.meter.phase = "seed"
        predict_blocks(bench, line, solution.seed(), rows, "seed", spare_s)
        before = bench.ledger.predictions(line.name, "seed")
        keep_version(bench, line, solution.seed(), [before[row.id][1] for row in rows])
    if isinstance(solution, Staged):
        bench.ledger.set_trial(line.name, "running", facts={IN_STEPS: True})
    if isinstance(solution, Choosing) and solution.choices():
        bench.ledger.set_trial(line.name, "running", facts={LOOKUP: solution.choices()})
    if isinstance(solution, Distilling):
        bench.ledger.set_trial(line.name, "running", facts={TAUGHT: dict(solution.learned_from())})


def measure_steps(bench: Bench, line: Line) -> None:
    """Answer the validation rows with the steps before the last one, which is measured already; they decide nothing.

    Raises BudgetReached where time ends; a run that is continued goes on with the rest.
    """
    if not goes_in_steps(bench, line):
        return
    bench.meter.trial = line.name
    for number, fold in enumerate(bench.split.folds):
        solution: Any = load_solution(bench, line, f"fold-{number}")
        rows = [bench.rows[id_] for id_ in bench.split.validation if id_ in set(fold.validation)]
        known = [(at, one.solution) for at, one in enumerate(solution.steps()) if one.solution is not None]
        names = [f"step: {one.name}" for one in solution.steps()]
        for at, one in known[:-1]:
            bench.meter.phase = part = step_part(at)
            predict_blocks(bench, line, one, rows, part)
            if isinstance(one, Prompted):
                answered = bench.ledger.predictions(line.name, part)
                keep_version(bench, line, one, [answered[row.id][1] for row in rows], change=names[at])


def goes_in_steps(bench: Bench, line: Line) -> bool:
    """Tell whether a way was measured whose solution is reached in steps, without loading it."""
    state = bench.ledger.trial(line.name)
    return bool(state and state[0] == "done" and state[2].get(IN_STEPS))


def step_part(number: int) -> str:
    """Return the name under which the answers of a step are kept."""
    return f"step-{number}"


def measure_certified(bench: Bench, line: Line, solution: Solution, rows: Sequence[Example]) -> None:
    """Keep the prompt that was certified with its score on the test part: fitted again, it may be another one."""
    if not isinstance(solution, Prompted):
        return
    state, answered = bench.ledger.trial(line.name), bench.ledger.predictions(line.name, "test")
    scores = [answered[row.id][1] for row in rows if row.id in answered]
    keep_version(bench, line, solution, scores, "test", str(state[2].get(PROMPT, "")) if state else "")


def keep_version(
    bench: Bench,
    line: Line,
    solution: Any,
    scores: Sequence[Any],
    part: str = "validation",
    parent: str = "",
    change: str = "",
) -> str:
    """Keep a solution's prompt with its score on a part, its length and what its calls cost; return its id, or nothing.

    `parent` is the id of the prompt that was compared, where this one was fitted again after it; `change` says how it came
    to be. A step of several is told from another under the same prompt by its name.
    """
    one = solution.version()
    if one is None:
        return ""
    if parent not in ("", one.id):
        one = replace(one, parent=parent, change=AGAIN)
    elif change or isinstance(solution, Staged):
        one = replace(one, change=change or f"step: {_last_step(solution)}")
    spent = [s for t, p, _, s in bench.ledger.spends() if t == line.name and p.split(":")[0] == bench.meter.phase]
    whole = sum(spent, Spend())
    score = round(float(bench.metric.aggregate(scores)), 6) if scores else None
    version = replace(one, score=score, rows=len(scores), tokens=_length(bench, line, one), spend=whole)
    bench.ledger.keep_prompt(line.name, part, version)
    return str(version.id)


def _last_step(solution: Staged) -> str:
    return [one.name for one in solution.steps() if one.solution is not None][-1]


def measure_rewrites(bench: Bench, line: Line, spare_s: float = 0.0) -> None:
    """Answer the first validation rows under other forms of the prompt that keep its meaning.

    Formats, wordings, orders of the examples, and repeats at a temperature where answers are written (methods.md §6).
    Where the budget ends meanwhile, the comparison itself stays complete, and the forms that were measured count: that is
    written down, and nothing is raised.
    """
    key = bench.steadiness_key(line)
    if bench.ledger.recall(key):
        return
    try:
        _rewrite(bench, line, key, spare_s)
    except BudgetReached:
        bench.ledger.decide("consistency not measured", {"strategy": line.name})


def _rewrite(bench: Bench, line: Line, key: str, spare_s: float) -> None:
    bench.check_time(spare_s)
    solution = load_solution(bench, line, "fold-0")
    if not isinstance(solution, Rewritable):
        return
    bench.meter.trial, bench.meter.phase = line.name, "consistency"
    mine = set(bench.split.folds[0].validation)
    some = [bench.rows[id_] for id_ in bench.split.validation if id_ in mine]
    some = some[: REWRITTEN_ROWS if line.is_local else PAID_ROWS]
    ticket = bench.ledger.reserve(key, line.name, "consistency", Spend())
    began = time.monotonic()
    first = _answers(bench, line, solution, some)
    forms: dict[str, list[dict[str, float]]] = {}
    try:
        for kind, number in _turns():
            if forms and time.monotonic() - began > REWRITTEN_S:
                break
            bench.check_time(spare_s)
            other = solution.rewritten(kind, number)
            if other is not None:
                bench.say(line.name, Progress(f"prompt in another {kind}", number + 1, REWRITES[kind]))
                before, start = _paid(bench, line), time.monotonic()
                answers = by_value(bench, other).predict([row.inputs for row in some])
                found = _compared(bench, some, first, answers)
                cost = Spend(seconds=time.monotonic() - start, usd=_paid(bench, line) - before)
                forms.setdefault(kind, []).append(found)
                if kind != "repeat":  # the same prompt again
                    said = PromptVersion("", (), "", f"another {kind}", found["score"], len(some), spend=cost)
                    _keep_reworded(bench, line, (solution, other), said)
    except BudgetReached:
        if not forms:
            raise
        bench.ledger.decide("consistency measured in part", {"strategy": line.name})
    facts = {"rows": len(some), "score": _mean_score(bench, some, first), "forms": forms}
    bench.ledger.settle(ticket, Spend(seconds=time.monotonic() - began), facts)


def _answers(bench: Bench, line: Line, solution: Solution, rows: Sequence[Example]) -> list[Prediction]:
    """Return what a way answers to validation rows as it is: what it was asked in the comparison, where that is complete."""
    known = bench.ledger.predictions(line.name, "validation")
    if all(row.id in known for row in rows):
        return [known[row.id][0] for row in rows]
    return solution.predict([row.inputs for row in rows])


def _turns() -> list[tuple[str, int]]:
    """Return all forms, one of each kind first: where time ends early, each kind has been looked at."""
    numbers = range(max(REWRITES.values()))
    return [(kind, number) for number in numbers for kind, most in REWRITES.items() if number < most]


def _paid(bench: Bench, line: Line) -> float:
    """Return the dollars that other forms of a prompt have cost so far."""
    return sum(s.usd for t, p, _, s in bench.ledger.spends() if t == line.name and p.split(":")[0] == "consistency")


def _keep_reworded(bench: Bench, line: Line, pair: Sequence[Any], said: PromptVersion) -> None:
    """Keep another form of a prompt with its score and its cost, as `said`: of every prompt that was scored there is a record."""
    before, after = (one.version() if isinstance(one, Prompted) else None for one in pair)
    if before is not None and after is not None:
        kept = replace(
            said, text=after.text, messages=after.messages, parent=before.id, tokens=_length(bench, line, after)
        )
        bench.ledger.keep_prompt(line.name, "validation", kept)


def _length(bench: Bench, line: Line, one: PromptVersion) -> int:
    count = getattr(bench.shelf[line.model], "count", None) if line.model not in ("", "embedder") else None
    return int(count(one.text)) if count else len(one.text) // 4


def _compared(bench: Bench, rows: Sequence[Example], first: Sequence[Prediction], other: Sequence[Prediction]) -> Any:
    """Return how many answers stay the same, and the score of the others."""
    same = sum(a == b for a, b in zip(_values(first), _values(other), strict=True))
    return {"same": same, "score": _mean_score(bench, rows, other)}


def _mean_score(bench: Bench, rows: Sequence[Example], answers: Sequence[Prediction]) -> float:
    return round(float(bench.metric.aggregate([score for _, score in scored(bench.metric, rows, answers)])), 6)


def _values(answers: Sequence[Prediction]) -> list[Any]:
    return [one.value if one.parsed else None for one in answers]
