"""Which strategies a study compares, in which order, and which are left out for which reason."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from whichway.core.task import Task
from whichway.errors import TaskFileError
from whichway.registry import get, names

CODE_CONTRACT = 1  # raised when the same settings would give other predictions: old runs are then not continued
# Cheap first: free priors set the bar (methods.md §2.1), then prompts, then training.
DEFAULTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("majority", "majority", {}),
    ("classic", "classic", {}),
    ("probe", "probe", {}),
    ("prompt-zero", "prompt", {"form": "zero"}),
    ("prompt-few", "prompt", {"form": "few"}),
    ("prompt-nearest", "prompt", {"form": "nearest"}),
    ("encoder", "encoder", {}),
    ("finetune", "finetune", {}),
    ("hybrid", "hybrid", {}),
)
PACKAGES = {"causal": ("torch", "transformers"), "embedder": ("torch", "sentence_transformers")}
TRAINING_PACKAGES = ("trl", "peft")


@dataclass(frozen=True)
class Line:
    """One strategy to be fitted and measured; `excluded` says why it will not be."""

    name: str
    way: str
    strategy: Any
    model: str  # 'causal', the name of an endpoint, 'embedder' or ''
    excluded: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """The strategy's settings as plain data."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self.strategy).items()}

    @property
    def is_local(self) -> bool:
        return self.model in ("", "causal", "embedder")

    def key(self, fingerprint: str) -> str:
        """Identify this trial by content: what it is, on which data, under which code contract."""
        parts = json.dumps([self.name, self.way, self.settings, self.model, fingerprint, CODE_CONTRACT], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()


def make_lines(task: Task, settings: Any, only: Sequence[str] = ()) -> list[Line]:
    """Return all lines in their order; `only` names strategies or families ('prompt' means all its forms)."""
    chosen = settings.strategies
    every = [*DEFAULTS, *_endpoint_lines(settings), *_extra_lines()]
    known = {name for name, _, _ in every} | {way for _, way, _ in every}
    for name in (*only, *chosen.only, *chosen.skip, *chosen.settings):
        if name not in known:
            raise TaskFileError(f"There is no strategy called {name!r}.", f"Known: {', '.join(sorted(known))}.")
    lines = []
    for name, way, fixed in every:
        said = {**chosen.settings.get(way, {}), **chosen.settings.get(name, {})}
        wanted = only or chosen.only
        if (wanted and not {name, way} & set(wanted)) or {name, way} & set(chosen.skip):
            continue
        lines.append(_checked(_line(name, way, {**fixed, **said}), task))
    if not lines:
        raise TaskFileError("No strategy is left to run.", "Widen strategies.only, strategies.skip or --only.")
    return lines


def _line(name: str, way: str, settings: Mapping[str, Any]) -> Line:
    made = get("strategy", way)
    known = made.__dataclass_fields__
    for key in settings:
        if key not in known:
            raise TaskFileError(
                f"The strategy {way!r} has no setting {key!r}.", f"Known: {', '.join(known) or 'none'}."
            )
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    try:
        strategy = made(**values)
    except (TypeError, ValueError) as error:
        raise TaskFileError(
            f"The settings of {name!r} cannot be used: {error}", "Look at docs/strategies.md."
        ) from error
    model = getattr(strategy, "model", "embedder" if "embedder" in made.needs else "")
    return Line(name, way, strategy, model)


def _endpoint_lines(settings: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the prompted strategies of each endpoint, called 'prompt-few@name'."""
    return [
        (f"prompt-{form}@{name}", "prompt", {"form": form, "model": name})
        for name in settings.models.endpoints
        for form in ("zero", "few", "nearest")
    ]


def _extra_lines() -> list[tuple[str, str, dict[str, Any]]]:
    """Return strategies that other packages registered."""
    ours = {way for _, way, _ in DEFAULTS}
    return [(name, name, {}) for name in names("strategy") if name not in ours]


def _checked(line: Line, task: Task) -> Line:
    if task.constraints.privacy == "local" and not line.is_local:
        return replace(line, excluded="privacy: nothing may leave this machine, and this model is behind an endpoint")
    needs = {"causal": line.model == "causal", "embedder": "embedder" in line.strategy.needs}
    needs["embedder"] |= getattr(line.strategy, "form", "") == "nearest" or getattr(line.strategy, "shown", 0) > 0
    packages = [package for part, needed in needs.items() if needed for package in PACKAGES[part]]
    packages += TRAINING_PACKAGES if line.strategy.trains and line.model == "causal" else ()
    for package in packages:
        if importlib.util.find_spec(package) is None:
            return replace(line, excluded=f"needs {package}, which is not installed: pip install 'whichway[local]'")
    return line
