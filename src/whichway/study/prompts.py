"""What is known of the prompts of a study: how far their form matters, what a search bought, and each step of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from whichway.core.strategy import Improved, Staged, Step
from whichway.study.bench import Bench, load_solution, solution_folder
from whichway.study.certify import TEST_SEED, certified_as
from whichway.study.evidence import paired_difference, score_interval
from whichway.study.lines import Line
from whichway.study.measuring import goes_in_steps, step_part


def sensitivity(bench: Bench, line: Line) -> dict[str, Any] | None:
    """Return how a strategy scores under other forms of its prompt: {"rows", "score", "low", "high", "kinds"}.

    `low` and `high` are the lowest and the highest score of all forms, its own among them; None where it has no prompt or
    nothing was measured.
    """
    found = bench.ledger.recall(bench.steadiness_key(line))
    if not found or not found["forms"]:
        return None
    kinds = {}
    for kind, tried in found["forms"].items():
        scores = [one["score"] for one in tried]
        same = sum(one["same"] for one in tried) / max(1, len(tried) * found["rows"])
        kinds[kind] = {"low": min(scores), "high": max(scores), "forms": len(tried), "same": round(same, 6)}
    every = [found["score"], *(one[end] for one in kinds.values() for end in ("low", "high"))]
    return {"rows": found["rows"], "score": found["score"], "low": min(every), "high": max(every), "kinds": kinds}


def searches(bench: Bench, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return for each prompt that was searched for: what it gains over its seed on validation, its edits, both texts.

    `refitted` is the same of the search that was made again on all labels for the test part: that prompt is the one shipped.
    `test` holds both scores and the gain on the test rows that it was certified on; the seed is no finalist.
    """
    found = []
    for line in lines:
        before = bench.ledger.predictions(line.name, "seed")
        if not before or not solution_folder(bench, line, "fold-0").exists():
            continue
        after = bench.ledger.predictions(line.name, "validation")
        ids = [id_ for id_ in bench.split.validation if id_ in before and id_ in after]
        solution: Any = load_solution(bench, line, "fold-0")
        if not isinstance(solution, Improved):
            continue
        mine = [one for one in bench.ledger.prompts() if one["trial"] == line.name and one["part"] == "train"]
        found.append(
            {
                "strategy": line.name,
                **_texts(solution),
                "refitted": _refitted(bench, line),
                "test": _on_test(bench, line),
                **_compared(bench, ids, before, after),
                "scored": len({one["id"] for one in mine}),
                "facts": getattr(solution, "facts", {}),
            }
        )
    return found


def _texts(solution: Any) -> dict[str, Any]:
    """Return the seed of a search, what it found, and its edits."""
    pair = {"seed": solution.seed().version(), "best": solution.version()}
    texts = {name: {"id": one.id, "text": one.text} for name, one in pair.items()}
    return {**texts, "edits": [asdict(one) for one in solution.edits()]}


def _refitted(bench: Bench, line: Line) -> dict[str, Any] | None:
    """Return what the search found again on all labels; None where it was not made again."""
    how = certified_as(bench, line.name)
    if not how or how["solution"] != "final" or not solution_folder(bench, line, "final").exists():
        return None
    return _texts(load_solution(bench, line, "final"))


def _on_test(bench: Bench, line: Line) -> dict[str, Any] | None:
    """Return the scores of seed and finalist, and the gain, on the test rows that both have answered; None where none."""
    before, after = (bench.ledger.predictions(line.name, part) for part in (TEST_SEED, "test"))
    ids = [id_ for id_ in bench.split.test if id_ in before and id_ in after]
    return _compared(bench, ids, before, after) if ids else None


def _compared(bench: Bench, ids: Sequence[str], before: Any, after: Any) -> dict[str, Any]:
    """Return the scores of a seed and of what a search made of it on the same rows, and the difference."""
    rows, seed = {**bench.rows, **bench.test}, bench.split.seed
    groups = [rows[id_].group for id_ in ids]
    old, new = ([part[id_][1] for id_ in ids] for part in (before, after))
    return {
        "seed_score": score_interval(bench.metric, old, groups, seed=seed).as_json(),
        "best_score": score_interval(bench.metric, new, groups, seed=seed).as_json(),
        "gain": paired_difference(bench.metric, new, old, groups, seed).as_json(),
    }


def steps(bench: Bench, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return for each way that goes in steps: every step with its score on validation and its gain over the one before.

    A step that was left out has neither. Steps are compared on the rows that all measured ones have answered.
    """
    found = []
    for line in lines:
        if not goes_in_steps(bench, line) or not solution_folder(bench, line, "fold-0").exists():
            continue
        solution: Any = load_solution(bench, line, "fold-0")
        if isinstance(solution, Staged):
            found.append({"strategy": line.name, "steps": _steps(bench, line, list(solution.steps()))})
    return found


def _steps(bench: Bench, line: Line, every: Sequence[Step]) -> list[dict[str, Any]]:
    last = max(i for i, one in enumerate(every) if one.solution is not None)
    answers = [
        bench.ledger.predictions(line.name, "validation" if i == last else step_part(i)) if one.solution else None
        for i, one in enumerate(every)
    ]
    ids = [id_ for id_ in bench.split.validation if all(id_ in one for one in answers if one is not None)]
    groups, found, before = [bench.rows[id_].group for id_ in ids], [], None
    for one, known in zip(every, answers, strict=True):
        version = one.solution.version() if one.solution is not None else None  # type: ignore[attr-defined]
        said: dict[str, Any] = {"name": one.name, "said": one.said, "edits": [asdict(edit) for edit in one.edits]}
        said |= {"prompt": {"id": version.id, "text": version.text} if version else None, "score": None, "gain": None}
        if known is not None and ids:
            own = [known[id_][1] for id_ in ids]
            said["score"] = score_interval(bench.metric, own, groups, seed=bench.split.seed).as_json()
            if before is not None:
                said["gain"] = paired_difference(bench.metric, own, before, groups, bench.split.seed).as_json()
            before = own
        found.append(said)
    return found
