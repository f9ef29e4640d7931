"""Settings of a training, searched for: tries proposed by TPE (optuna), each judged by its loss on dev alone."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.strategy import Kit, Progress
from whichway.errors import BudgetReached
from whichway.strategies.parts.store import load_json, save_json

RANKS, EPOCHS = (2, 4, 8, 16), (1, 2, 3, 5, 8)  # of 16 at most: what a server of adapters takes by default
LAYERS = ("usual", "attention", "all")
RATES = (0.2, 5.0)  # times the usual rate of an adapter
TIME_SHARE = 0.6  # of the time that is left, for all tries
DONE = "try.json"
Learn = Callable[[Mapping[str, Any], Kit], Any]


@dataclass(frozen=True)
class Try:
    """One training: its settings, where its weights lie, the lowest loss on dev (None: it did not end), tokens read."""

    settings: dict[str, Any]
    weights: Path
    loss: float | None
    tokens: int


def best_of(
    tries: int, first: Mapping[str, Any], usual: Mapping[str, float], learn: Learn, home: Path, kit: Kit
) -> Try:
    """Train under `first`, then under what the sampler proposes, while there is time; return the best try.

    `learn(settings, kit)` trains into `kit.folder / "weights"`. `usual` are the learning rates of the adapters that may be
    tried, the asked-for one among them. Tries that ended are kept in `home`, so that a killed search makes none of them
    twice; weights of lesser ones go.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    began, left = time.monotonic(), TIME_SHARE * kit.budget.remaining_s()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(multivariate=True, n_startup_trials=4, seed=kit.seed)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    study.enqueue_trial(_params(first, usual))
    best, slowest = None, 0.0
    for number in range(max(1, tries)):
        used = time.monotonic() - began
        if best is not None and used + slowest > left:
            break
        if tries > 1:
            kit.progress(Progress(f"try {number + 1} of {tries}"))
        trial = study.ask(_space(usual))
        deadline = kit.budget.deadline if best is None else min(kit.budget.deadline, began + left)
        own = replace(kit, folder=home / f"try-{number}", budget=replace(kit.budget, deadline=deadline))
        settings = _settings(first, trial.params, usual) if number else dict(first)
        one = _tried(settings, learn, own, kit)
        slowest = max(slowest, time.monotonic() - began - used)
        if one.loss is None:
            break
        study.tell(trial, one.loss)
        best = _better(best, one)
    assert best is not None
    return best


def _tried(settings: dict[str, Any], learn: Learn, own: Kit, whole: Kit) -> Try:
    """Make one try, or read how it ended; one that outlasts the time for tries has no loss."""
    file, weights = own.folder / DONE, own.folder / "weights"
    if file.exists():
        kept = load_json(file)
        return Try(settings, weights, kept["loss"], kept["tokens"])
    shutil.rmtree(weights, ignore_errors=True)
    try:
        trained = learn(settings, own)
    except BudgetReached:
        if whole.budget.remaining_s() <= 0 or own.budget.deadline == whole.budget.deadline:
            raise
        return Try(settings, weights, None, 0)
    loss = min(trained.dev_losses)
    save_json(file, {"settings": settings, "loss": loss, "tokens": trained.tokens})
    return Try(settings, weights, loss, trained.tokens)


def _better(best: Try | None, one: Try) -> Try:
    """Return the one with the lower loss, the earlier of equal ones; the weights of the other go."""
    if best is None:
        return one
    assert best.loss is not None and one.loss is not None
    good, other = (one, best) if one.loss < best.loss else (best, one)
    shutil.rmtree(other.weights, ignore_errors=True)
    return good


def _space(usual: Mapping[str, float]) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        "adapter": CategoricalDistribution(list(usual)),
        "layers": CategoricalDistribution(LAYERS),
        "rank": CategoricalDistribution(RANKS),
        "epochs": CategoricalDistribution(EPOCHS),
        "rate": FloatDistribution(*RATES, log=True),
    }


def _params(first: Mapping[str, Any], usual: Mapping[str, float]) -> dict[str, Any]:
    """Return the settings to begin with as a point of the space, the nearest one where they lie beside it."""
    rate = first.get("rate", usual[first["adapter"]]) / usual[first["adapter"]]
    return {
        "adapter": first["adapter"],
        "layers": first["layers"],
        "rank": min(RANKS, key=lambda one: abs(one - first["rank"])),
        "epochs": min(EPOCHS, key=lambda one: abs(one - first["epochs"])),
        "rate": min(RATES[1], max(RATES[0], rate)),
    }


def _settings(first: Mapping[str, Any], params: Mapping[str, Any], usual: Mapping[str, float]) -> dict[str, Any]:
    """Return the settings of a point of the space."""
    rate = round(params["rate"] * usual[params["adapter"]], 8)
    return {**first, **params, "rate": rate, "alpha": 2 * params["rank"]}
