"""How well label curves foretell: 80 % intervals at twice and four times the labels, on measured and published curves."""

# Each curve's guard is the conformal quantile of its errors on the curves of all other data sets, so that none is judged by
# what it was fitted to. Commands: `python bench/replay/forecasts.py`; figures in docs/method.md.

from __future__ import annotations

import argparse
import csv
from collections import defaultdict

import numpy as np
from arena import EVIDENCE, load_matrix

from whichway.study.curves import Rung, fit_curve

Point = tuple[int, float, float, int]  # labels, score, standard error, fits


def main() -> None:
    """Print coverage by family of curves with a guard from the other data sets, and the guard over all of them."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--level", type=float, default=0.8)
    level = asked.parse_args().level
    found = []
    for source, curves in (("matrix", of_matrix()), ("setfit", of_setfit()), ("fine-tuning", of_finetuning())):
        for (name, line), points in curves.items():
            found += [(source, name, line, *one) for one in errors(points)]
    print(f"{len(found)} forecasts of {len({(s, n) for s, n, *_ in found})} data sets")
    inside = defaultdict(list)
    for source, name, _, ratio, error, half in found:
        guard = quantile([e / h for s, n, _, _, e, h in found if family(n) != family(name)], level)
        inside[source, ratio].append((error <= guard * half, error, guard * half))
    for (source, ratio), rows in sorted(inside.items()):
        covered, error, half = np.mean(rows, axis=0)
        print(
            f"{source:12} at {ratio} x: n={len(rows):4} inside {covered:.3f}, error {error:.4f}, half width {half:.4f}"
        )
    everything = [one for rows in inside.values() for one in rows]
    print(f"all: inside {np.mean([one[0] for one in everything]):.3f} at nominal {level}")
    raw = np.mean([e <= h for *_, e, h in found])
    print(f"without a guard {raw:.3f}; guard over all {quantile([e / h for *_, e, h in found], level):.3f}")


def family(name: str) -> str:
    """Return what data sets of one source have in common: none may teach another."""
    return next((one for one in ("banking", "trec", "clinic", "clinc", "sst", "amazon") if one in name.lower()), name)


def quantile(values: list[float], level: float) -> float:
    """Return the conformal quantile: the (n + 1) level-th smallest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(np.ceil((len(ordered) + 1) * level)) - 1)]


def errors(points: list[Point]) -> list[tuple[int, float, float]]:
    """Return (ratio, error, half width of the raw 80 % interval) for each later point that earlier ones could foretell.

    The interval includes the later point's own noise: it is that which is compared with what was measured.
    """
    points, found = sorted(points), []
    for known in range(2, len(points)):
        curve = fit_curve([Rung(*one) for one in points[:known]], guard=1.0)
        for labels, score, error, _ in points[known:]:
            ratio = round(labels / points[known - 1][0])
            if ratio <= 4:
                draws = curve.values([labels])[:, 0] + np.random.default_rng(0).normal(0, error, 2 * 2000)
                low, middle, high = np.quantile(draws, [0.1, 0.5, 0.9])
                side = high - middle if score > middle else middle - low
                found.append((ratio, abs(score - middle), max(side, 1e-4)))
    return found


def of_matrix() -> dict[tuple[str, str], list[Point]]:
    """Return the rungs of every trainable line of the matrix."""
    found = defaultdict(list)
    for arm in load_matrix():
        if arm.rungs > 1:
            mean, error = float(arm.scores.mean()), float(arm.scores.std() / np.sqrt(len(arm.scores)))
            found[arm.set, f"{arm.line} {arm.seed}"].append((arm.labels, mean, error, 1))
    return {key: one for key, one in found.items() if len(one) >= 3}


def of_setfit() -> dict[tuple[str, str], list[Point]]:
    """Return mean score by labels per class of each published method and data set with three sizes at least."""
    path = EVIDENCE / "setfit_published_fewshot.csv"
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    runs = defaultdict(list)
    for one in rows:
        if one["metric"] == "accuracy" and one["n_per_class"].isdigit():
            runs[one["dataset"], one["method"], int(one["n_per_class"])].append(float(one["score"]) / 100)
    found = defaultdict(list)
    for (name, method, size), scores in runs.items():
        if size > 0:
            spread = np.std(scores, ddof=1) if len(scores) > 1 else 0.05
            found[name, method].append(
                (size, float(np.mean(scores)), float(spread / np.sqrt(len(scores))), len(scores))
            )
    return {key: one for key, one in found.items() if len(one) >= 3}


def of_finetuning() -> dict[tuple[str, str], list[Point]]:
    """Return the published fine-tuning curves."""
    path, found = EVIDENCE / "longctx_icl_vs_ft_means.csv", defaultdict(list)
    for one in csv.DictReader(path.open()) if path.exists() else []:
        if one["arm"].startswith("finetuning/"):
            runs = int(one["runs"] or 1)
            error = float(one["acc_sd"] or 2) / 100 / np.sqrt(runs)
            point = (int(one["n"]), float(one["acc_mean"]) / 100, float(np.hypot(error, 0.02)), runs)
            found[one["arm"].split("/")[1], one["arm"]].append(point)
    return {key: one for key, one in found.items() if len(one) >= 3}


if __name__ == "__main__":
    main()
