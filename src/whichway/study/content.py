"""What a fit, and a block of its answers, depend on: one hash each, the same in every run that would make the same."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whichway.core.output import Labels
from whichway.core.task import Example, Task
from whichway.models import hardware
from whichway.study.kit import ModelShelf
from whichway.study.lines import CODE_CONTRACT, Line, asked_endpoints, has_embedder, uses_embedder
from whichway.study.versions import versions

ROOMS = ("core", "metrics", "models", "strategies")  # whose code makes fits and answers
READ = ("output", "metric", "models")  # sections of the task file that a fit may read, beside rows and documents


def study_content(task: Task, shelf: ModelShelf, seed: int) -> str:
    """Return a hash of what all fits of a study depend on: fields, shape of the answer, documents, seed, code, machine."""
    said = shelf.settings.model_dump(mode="json", include=set(READ))
    said["models"].pop("endpoints", None)  # what asks one is never looked for
    names = list(task.output.names) if isinstance(task.output, Labels) else []
    fields = [asdict(one) for one in task.fields]
    parts = [
        said,
        task.metric.name,
        names,
        fields,
        [dict(one) for one in task.unlabelled],
        seed,
    ]
    digest = hashlib.sha256(_written([*parts, code_content()]))
    for one in task.documents:
        digest.update(_written([one.id, one.title, one.text]))
    return digest.hexdigest()


def code_content() -> str:
    """Return a hash of what all that is made here depends on, whatever it is made from: code, packages, machine."""
    return hashlib.sha256(_written([CODE_CONTRACT, _code(), versions(), _machine()])).hexdigest()


def fit_content(
    study: str, line: Line, shelf: ModelShelf, rows: Sequence[Sequence[Example]], more: Mapping[str, Any]
) -> str:
    """Return a hash of a fit on (train, dev) rows; '' where other runs' fits do not stand for it.

    Those are ways that ask an endpoint, whose model may change under its name, ways of other packages, whose code may, and
    weights that cannot be told. `more` is what else counts: the step that it goes on from, the budget where it searches.
    """
    ours = type(line.strategy).__module__.startswith("whichway.strategies.")
    if not ours or line.judge or asked_endpoints(line, shelf.endpoints):
        return ""
    weights = [shelf.digest(kind) for kind in models_of(line)]
    if not all(weights):
        return ""
    said = [line.name, line.way, line.settings, line.model, line.wording]
    examples = [[asdict(one) for one in part] for part in rows]
    return hashlib.sha256(_written([study, said, weights, examples, dict(more)])).hexdigest()


def block_content(fit: str, rows: Sequence[Example], terse: bool = False) -> str:
    """Return a hash of the answers of a fit to some rows, asked at once: in bf16 they depend on which are asked together.

    Where the answers are `terse`, their confidences are not those of the others.
    """
    said = [fit, [[one.id, dict(one.inputs)] for one in rows], *(["terse"] if terse else [])]
    return hashlib.sha256(_written(said)).hexdigest() if fit else ""


def models_of(line: Line) -> tuple[str, ...]:
    """Return which local models a way uses: 'causal', 'embedder'."""
    within = line.strategy.within() if hasattr(line.strategy, "within") else ()
    every = [line.strategy, *(line.strategy.made(name) for name in within)]
    used = {line.model, *(need for one in every for need in _needs(one))}
    used |= {"embedder"} if has_embedder() and any(uses_embedder(one) for one in every) else set()
    return tuple(sorted(used & {"causal", "embedder"}))


def _needs(strategy: Any) -> tuple[str, ...]:
    """Return what a strategy is made with: no language model where passages go to a linear one."""
    needs = tuple(getattr(strategy, "needs", ()))
    return needs if getattr(strategy, "then", "prompt") == "prompt" else tuple(one for one in needs if one != "causal")


def _written(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode("utf-8", "surrogatepass")


def _machine() -> list[Any]:
    """Return what a measured time holds for: another machine's costs say nothing here."""
    return [hardware.processor(), os.cpu_count(), os.environ.get("OMP_NUM_THREADS")]


@functools.cache
def _code() -> str:
    """Return a hash of the code that makes fits: an edit of it that nobody raised CODE_CONTRACT for counts, too."""
    digest, home = hashlib.sha256(), Path(__file__).parents[1]
    for room in ROOMS:
        for path in sorted((home / room).rglob("*.py")):
            digest.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
