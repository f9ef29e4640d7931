"""What single answers tell beside the score: per class or field, confusions, disagreements, calibration, abstaining, ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from whichway.core.fields import Fields
from whichway.core.output import Labels, as_labels
from whichway.core.ranking import hit_at, ndcg, reciprocal_rank
from whichway.core.task import Example, Prediction, worth
from whichway.core.text import Text
from whichway.metrics.fields import per_field
from whichway.study.bench import Bench
from whichway.study.certify import common_rows
from whichway.study.evidence import calibration, clopper_pearson
from whichway.study.lines import Line

MOST_CONFUSIONS = 40
MOST_DISAGREEMENTS = 30
MOST_SAMPLES = 8
LONGEST_SHOWN = 400
COVERAGES = 20
PROMISED = (0.95, 0.9, 0.8)
RANKS = (1, 3, 5, 10)


def answers_of(bench: Bench, names: Sequence[str], part: str) -> tuple[list[str], dict[str, Any]]:
    """Return the rows that all these strategies have answered, and their answers by name and row."""
    answered = {name: bench.ledger.predictions(name, part) for name in names}
    return common_rows(bench, answered, part), answered


def rows_of(bench: Bench, part: str) -> Mapping[str, Example]:
    """Return the examples of a part."""
    return bench.test if part == "test" else bench.rows


def per_class(bench: Bench, names: Sequence[str], part: str) -> list[dict[str, Any]]:
    """Return precision, recall and F1 by label; of objects, by field."""
    ids, answered = answers_of(bench, names, part)
    rows = rows_of(bench, part)
    if isinstance(bench.task.output, Fields):
        given = {name: [answered[name][id_][0] for id_ in ids] for name in names}
        return _per_field(bench, [rows[id_] for id_ in ids], given)
    found = []
    for label in bench.task.output.names if isinstance(bench.task.output, Labels) else ():
        gold = [label in as_labels(rows[id_].target) for id_ in ids]
        if not any(gold):
            continue
        scores = {}
        for name in names:
            said = [label in as_labels(answered[name][id_][0].value) and answered[name][id_][0].parsed for id_ in ids]
            hits = sum(a and b for a, b in zip(gold, said, strict=True))
            precision, recall = hits / sum(said) if any(said) else 0.0, hits / sum(gold)
            f1 = 2 * hits / (sum(gold) + sum(said))
            scores[name] = {"precision": round(precision, 6), "recall": round(recall, 6), "f1": round(f1, 6)}
        found.append({"label": label, "n": sum(gold), "scores": scores})
    return found


def _per_field(
    bench: Bench, rows: Sequence[Example], answered: Mapping[str, Sequence[Prediction]]
) -> list[dict[str, Any]]:
    alike = {key: getattr(bench.metric, key) for key in ("case_sensitive", "day_first") if hasattr(bench.metric, key)}
    table = {name: per_field(rows, answers, **alike) for name, answers in answered.items()}
    paths = list(dict.fromkeys(path for one in table.values() for path in one))
    kept = ("precision", "recall", "f1")
    return [
        {
            "label": path,
            "n": max(int(one[path]["n"]) for one in table.values() if path in one),
            "scores": {
                name: {key: round(one[path][key], 6) for key in kept} for name, one in table.items() if path in one
            },
        }
        for path in paths
    ]


def confusions(bench: Bench, names: Sequence[str], part: str) -> list[dict[str, Any]]:
    """Return how often each answer was given for each label, the most frequent pairs first."""
    if not isinstance(bench.task.output, Labels):
        return []
    ids, answered = answers_of(bench, names, part)
    rows, few, found = rows_of(bench, part), len(bench.task.output.names) <= 20, []
    for name in names:
        pairs: Counter[tuple[str, str]] = Counter()
        for id_ in ids:
            one = answered[name][id_][0]
            said = _written(bench, one.value) if one.parsed else "(not parsed)"
            if not one.parsed or one.value != rows[id_].target or few:
                pairs[(_written(bench, rows[id_].target), said)] += 1
        most = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[: None if few else MOST_CONFUSIONS]
        found += [{"strategy": name, "true": true, "answered": said, "n": n} for (true, said), n in most]
    return found


def disagreements(bench: Bench, names: Sequence[str], part: str) -> list[dict[str, Any]]:
    """Return rows that strategies answer differently; of written answers, which always differ, some samples."""
    ids, answered = answers_of(bench, names, part)
    rows, found = rows_of(bench, part), []
    most = MOST_DISAGREEMENTS if isinstance(bench.task.output, Labels) else MOST_SAMPLES
    for id_ in ids:
        said = {name: answered[name][id_][0] for name in names}
        if len({_written(bench, one.value) for one in said.values()}) > 1:
            answers = {
                name: {"value": _written(bench, one.value)[:LONGEST_SHOWN], "confidence": one.confidence}
                for name, one in said.items()
            }
            text = " · ".join(f"{k}: {v}" if len(rows[id_].inputs) > 1 else str(v) for k, v in rows[id_].inputs.items())
            true = _written(bench, rows[id_].target)[:LONGEST_SHOWN]
            found.append({"id": id_, "text": text[:LONGEST_SHOWN], "true": true, "answers": answers})
        if len(found) == most:
            break
    return found


def calibrated(bench: Bench, name: str, part: str) -> tuple[float, list[dict[str, Any]]]:
    """Return how far confidences are from what they promise, and the bins; of written answers, from the metric's score."""
    found = bench.ledger.predictions(name, part)
    good = goodness(bench)
    right = [good(rows_of(bench, part)[id_], one, score) for id_, (one, score) in found.items()]
    return calibration([one.confidence for one, _ in found.values()], right)


def goodness(bench: Bench) -> Callable[[Example, Prediction, Any], float]:
    """Return what says how good one answer is, in [0, 1]: right or wrong for labels, else the metric put in its bounds."""
    if isinstance(bench.task.output, Labels):
        return lambda row, one, _: float(one.parsed and one.value == row.target)
    low, high = bench.metric.bounds

    def share(_: Example, one: Prediction, score: Any) -> float:
        return min(1.0, max(0.0, (worth(bench.metric, score, one.parsed) - low) / (high - low)))

    return share


def abstention(bench: Bench, name: str, part: str) -> dict[str, Any]:
    """Return the risk-coverage curve: how good the answers are when only the surest share of rows is answered.

    `aurc` is the area under the risk-coverage curve (Geifman and El-Yaniv 2017); lower is better. `promises` are thresholds
    chosen on validation for a share of rows to answer, and what they gave on the test part, where that was opened. `unknown`
    is how often the way itself said 'I do not know': rightly, of rows without an answer, and wrongly, of the others.
    """
    pairs = _by_confidence(bench, name, part)
    if not pairs:
        return {}
    total, risks, curve = 0.0, [], []
    marks = {max(1, round(len(pairs) * i / COVERAGES)) for i in range(1, COVERAGES + 1)}
    for count, (confidence, value) in enumerate(pairs, start=1):
        total += value
        risks.append(1 - total / count)
        if count in marks:
            point = {"coverage": count / len(pairs), "score": total / count, "threshold": confidence}
            curve.append({key: round(one, 6) for key, one in point.items()})
    aurc = round(sum(risks) / len(risks), 6)
    found = {"part": part, "n": len(pairs), "aurc": aurc, "curve": curve, "promises": _promises(bench, name)}
    return {**found, **_unknown(bench, name, part)}


def _unknown(bench: Bench, name: str, part: str) -> dict[str, Any]:
    """Return how often 'I do not know' was said where there is no answer and where there is one; {} where each row has one."""
    answered, rows = bench.ledger.predictions(name, part), rows_of(bench, part)
    silent: dict[bool, list[bool]] = {True: [], False: []}
    for id_, (one, _) in answered.items():
        silent[rows[id_].target == ""].append(one.parsed and one.value == "")
    if not isinstance(bench.task.output, Text) or not silent[True]:
        return {}
    named = (("rightly", silent[True]), ("wrongly", silent[False]))
    return {"unknown": {which: _share(said) for which, said in named}}


def _share(said: Sequence[bool]) -> dict[str, Any]:
    """Return a share of rows with its exact interval."""
    if not said:
        return {"n": 0}
    low, high = clopper_pearson(sum(said), len(said))
    return {"value": _mean(said), "low": round(low, 6), "high": round(high, 6), "n": len(said)}


def _promises(bench: Bench, name: str) -> list[dict[str, Any]]:
    chosen, tested, found = _by_confidence(bench, name, "validation"), _by_confidence(bench, name, "test"), []
    for coverage in PROMISED if chosen else ():
        threshold = threshold_for([confidence for confidence, _ in chosen], coverage)
        one: dict[str, Any] = {"coverage": coverage, "threshold": round(threshold, 6), "n": len(tested)}
        given = [value for confidence, value in tested if confidence >= threshold]
        if tested:
            one |= {"measured": round(len(given) / len(tested), 6), "score": _mean(given) if given else None}
        found.append(one)
    return found


def threshold_for(confidences: Sequence[float], coverage: float) -> float:
    """Return the confidence from which on this share of rows is answered, in the middle between two rows."""
    ordered = sorted(confidences, reverse=True)
    last = min(len(ordered), max(1, round(coverage * len(ordered))))
    return ordered[-1] if last == len(ordered) else (ordered[last - 1] + ordered[last]) / 2


def _by_confidence(bench: Bench, name: str, part: str) -> list[tuple[float, float]]:
    """Return (confidence, goodness) of each answer, the surest first."""
    good, rows = goodness(bench), rows_of(bench, part)
    found = bench.ledger.predictions(name, part).items()
    by_confidence: dict[float, list[float]] = {}
    for id_, (one, score) in found:
        by_confidence.setdefault(one.confidence, []).append(good(rows[id_], one, score))
    # Among answers that are equally sure, none comes first: each counts as their mean.
    means = {confidence: sum(values) / len(values) for confidence, values in by_confidence.items()}
    return [(one, means[one]) for one in sorted(by_confidence, reverse=True) for _ in by_confidence[one]]


def retrieval(bench: Bench, line: Line) -> dict[str, Any]:
    """Return hit@k, MRR and nDCG of the documents a strategy looks up, over the rows with gold documents; {} without any."""
    key = f"{line.key(bench.fingerprint)}/retrieval"
    part = "test" if bench.ledger.recall(f"{key}/test") else "validation"
    names = ["test"] if part == "test" else [f"validation-{i}" for i in range(len(bench.split.folds))]
    ranked = {
        id_: one
        for name in names
        for id_, one in (bench.ledger.recall(f"{key}/{name}") or {}).get("ranked", {}).items()
    }
    pairs = [(rows_of(bench, part)[id_].gold_documents, one) for id_, one in ranked.items()]
    deepest = max((len(one) for _, one in pairs), default=0)
    if not deepest:
        return {}
    hits = {f"hit@{k}": _mean([hit_at(gold, one, k) for gold, one in pairs]) for k in RANKS if k <= deepest}
    mrr = _mean([reciprocal_rank(gold, one) for gold, one in pairs])
    return {
        "part": part,
        "n": len(pairs),
        **hits,
        "mrr": mrr,
        f"ndcg@{deepest}": _mean([ndcg(g, r, deepest) for g, r in pairs]),
    }


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 6)


def _written(bench: Bench, value: Any) -> str:
    if isinstance(bench.task.output, Labels):
        return value if isinstance(value, str) else " | ".join(value) or "none"
    if isinstance(bench.task.output, Text):
        return str(value or bench.task.output.unknown)
    return bench.task.output.write(value)
