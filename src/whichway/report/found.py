"""The sections on answers that are looked up, withheld or passed on: retrieval, abstaining, cascades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from whichway.report import words
from whichway.report.reading import Report, Row, at, mapping, measured, metric, metric_name, rows, things, winner_name
from whichway.report.sections import Cell, Column, Section, Table, table

RANKS = ("hit@1", "hit@3", "hit@5", "hit@10", "mrr")
COVERAGES = (1.0, 0.9, 0.8, 0.5)
SAID = ("rightly", "wrongly")


def retrieval(report: Report) -> Section:
    """Return how well documents were found, by itself: an answer can be wrong though its document was right."""
    lines: list[tuple[Cell, ...]] = []
    marked, every = None, [mapping(one, "retrieval") for one in rows(report, "trials")]
    ranks = (*RANKS, *sorted({key for one in every for key in one if key.startswith("ndcg@")}))
    for one in rows(report, "trials"):
        found = mapping(one, "retrieval")
        if not found:
            continue
        if one.get("strategy") == winner_name(report):
            marked = len(lines)
        name = Cell(words.visible(one.get("strategy")), f"{words.sample(found)}, {found.get('part')}")
        lines.append((name, *(Cell(words.score(found.get(rank))) for rank in ranks)))
    columns = (Column("way", False), *map(Column, ranks))
    lead = (
        f"Of {words.count(at(report, 'task', 'documents'))} documents. hit@k: a document that holds the answer is among the "
        "first k; mrr: the mean of 1 / its rank; ndcg: how far up all of them stand. The ways "
        "without documents show whether looking up was needed at all: the same rows, asked with documents and without."
    )
    made = (table("Rank of the right document", columns, lines, marked),) if lines else ()
    shown = (*made, *_tried(report), *_familiar(report))
    return Section("retrieval", "Are the right documents found?", lead if shown else "", needed(report), shown)


def needed(report: Report) -> tuple[str, ...]:
    """Say, per way that looks up, how far it is from the same way without documents: whether retrieval was needed."""
    sentences = []
    for one in rows(report, "trials"):
        name, control = str(one.get("strategy")), _control(one)
        gap = next(
            (gap for gap in rows(report, "differences") if {gap.get("a"), gap.get("b")} == {name, control}), None
        )
        if gap is None or not control:  # the test part stands first, where both ways were opened there
            continue
        turned = {"value": gap.get("value"), "low": gap.get("low"), "high": gap.get("high")}
        if gap.get("a") == control:
            ends = {"value": "value", "low": "high", "high": "low"}
            turned = {end: -(words.number(gap.get(other)) or 0.0) for end, other in ends.items()}
        said = f"{words.visible(name)} against {words.visible(control)}, the same without documents"
        around = f"{words.difference(turned, metric(report))}, {gap.get('part')}, {words.sample(gap)}"
        sentences.append(f"{said}: {around}. {_meaning(turned)}")
    return tuple(sentences)


def _control(trial: Row) -> str:
    """Return the name of the way that is the same without documents; '' for ways that look nothing up."""
    settings = mapping(trial, "settings")
    if trial.get("way") == "raft":
        return "finetune"
    if trial.get("way") != "rag":
        return ""
    if settings.get("then") != "prompt":
        return str(settings.get("then") or "")
    behind = "" if settings.get("model") in (None, "causal") else f"@{settings.get('model')}"
    return f"prompt-{settings.get('form') or 'zero'}{behind}"


def _meaning(gap: Row) -> str:
    if (words.number(gap.get("low")) or 0.0) > 0:
        return "Retrieval was needed."
    return (
        "Retrieval did harm."
        if (words.number(gap.get("high")) or 0.0) < 0
        else "Whether retrieval is needed is not shown."
    )


def _tried(report: Report) -> tuple[Table, ...]:
    """Return how documents are cut and found, and what else was tried on rows to learn from: per set of tries, once."""
    made: dict[str, tuple[list[str], Row]] = {}
    for one in rows(report, "trials"):
        told = mapping(one, "lookup")
        if rows(told, "tried"):
            key = repr((rows(told, "tried"), {**mapping(told, "chosen"), "shown": 0}))
            made.setdefault(key, ([], told))[0].append(f"{one.get('strategy')} shows {at(told, 'chosen', 'shown')}")
    return tuple(_tries(told, names) for names, told in made.values())


def _tries(told: Row, names: Sequence[str]) -> Table:
    """Return what each size and mode scored, at its best; all of it is in report.json."""
    tried, chosen = rows(told, "tried"), mapping(told, "chosen")
    best: dict[tuple[object, ...], Row] = {}
    for one in sorted(tried, key=lambda one: -(words.number(one.get("score")) or 0.0)):
        best.setdefault(_key(one), one)
    order = list(dict.fromkeys(map(_key, tried)))
    lines = [
        (Cell(_size(one)), Cell(_way(one)), Cell(words.score(one.get("score"))), *map(Cell, map(words.score, counts)))
        for one in map(best.__getitem__, order)
        if (counts := things(one, "by_count"))
    ]
    by_gold = tried[0].get("judged_by") == "gold documents"
    heads = [f"hit@{k}" if by_gold else f"{k} shown" for k in range(1, len(things(tried[0], "by_count")) + 1)]
    columns = (Column("passages", False), Column("found", False), Column("mrr" if by_gold else "best"))
    judged = (
        "by the documents that they name"
        if by_gold
        else "by the share of an answer's words in what is shown, less that of other rows' answers"
    )
    taken = f"{_size(chosen)}, {_way(chosen)}; {', '.join(names)}"
    note = f"Tried on {words.count(tried[0].get('rows'))} rows to learn from, {judged}. Taken: {taken}."
    marked = order.index(_key(chosen)) if _key(chosen) in order else None
    return Table("How documents are cut and found", (*columns, *map(Column, heads)), tuple(lines), marked, note)


def _key(one: Row) -> tuple[object, ...]:
    return one.get("words"), one.get("mode"), one.get("reranked")


def _size(one: Row) -> str:
    return f"{one.get('words')} words" if one.get("words") else "whole documents"


def _way(one: Row) -> str:
    """Return a way of retrieving in words."""
    found = {"lexical": "by words (BM25)", "dense": "by meaning (exact cosine)", "fused": "by both, fused"}
    return found.get(str(one.get("mode")), "") + (", reranked" if one.get("reranked") else "")


def _familiar(report: Report) -> tuple[Table, ...]:
    """Return scores of rows about documents that were learned from, apart from those about documents that were not."""
    known = metric(report)
    lines = [
        (
            Cell(words.visible(one.get("strategy")), words.visible(at(one, "familiarity", "part"))),
            *(_with_interval(mapping(one, "familiarity", which), known) for which in ("seen", "unseen")),
        )
        for one in measured(report)
        if mapping(one, "familiarity")
    ]
    heads = ("asked about in training", "never asked about in training")
    made = table("Score by whether a row's document is", (Column("way", False), *map(Column, heads)), lines)
    return (made,) if lines else ()


def _with_interval(found: Row, known: Row) -> Cell:
    return Cell(words.score(found.get("value"), known), f"{words.interval(found, known)}, {words.sample(found)}")


def abstaining(report: Report) -> Section:
    """Return what a threshold on confidence would buy: fewer answers, better ones."""
    lines = []
    for name, found in mapping(report, "abstention").items():
        curve = rows(found, "curve")
        cells = [_at_coverage(curve, share) for share in COVERAGES]
        if curve:
            lines.append((Cell(words.visible(name), words.sample(found)), *cells, Cell(words.score(at(found, "aurc")))))
    heads = (Column(f"{words.percent(share)} answered") for share in COVERAGES)
    columns = (Column("way", False), *heads, Column("aurc", True, "lower is better"))
    lead = (
        "When only answers above a confidence are given and the rest is passed to a person: how good the given ones are. "
        "The small print is the confidence from which on to answer. A curve that falls to the right means that the way "
        "knows when it does not know."
    )
    shown = (
        (table("Score of the surest answers", columns, lines), *_promises(report), *_unknown(report)) if lines else ()
    )
    return Section(
        "abstaining", "When should it say 'I do not know'?", lead if lines else "", (), shown, is_plotted=True
    )


def _promises(report: Report) -> tuple[Table, ...]:
    """Return what thresholds that were chosen on validation gave on the test part."""
    lines = [
        (
            Cell(words.visible(name)),
            Cell(words.percent(one.get("coverage"))),
            Cell(words.score(one.get("threshold"))),
            Cell(words.percent(one.get("measured")), words.sample(one)),
            Cell(words.score(one.get("score"))),
        )
        for name, found in mapping(report, "abstention").items()
        for one in rows(found, "promises")
        if one.get("measured") is not None
    ]
    heads = ("promised", "threshold from validation", "answered on test", "score of those")
    made = table(
        "Thresholds chosen on validation, tried on the test part", (Column("way", False), *map(Column, heads)), lines
    )
    return (made,) if lines else ()


def _unknown(report: Report) -> tuple[Table, ...]:
    """Return how often ways said 'I do not know' where there is no answer, and where there is one."""
    lines = [
        (
            Cell(words.visible(name), words.visible(found.get("part"))),
            *(_said(mapping(found, "unknown", one)) for one in SAID),
        )
        for name, found in mapping(report, "abstention").items()
        if mapping(found, "unknown")
    ]
    heads = ("rightly: of rows without an answer", "wrongly: of rows with one")
    made = table("How often 'I do not know' was said", (Column("way", False), *map(Column, heads)), lines)
    return (made,) if lines else ()


def _said(share: Row) -> Cell:
    if words.number(share.get("value")) is None:
        return Cell(words.MISSING)
    around = f"{words.percent(share.get('low'))} to {words.percent(share.get('high'))}"
    return Cell(words.percent(share.get("value")), f"{around}, {words.sample(share)}")


def cascaded(report: Report) -> Section:
    """Return cheap ways before dear ones, and the two best ways averaged."""
    known = metric(report)
    lines = []
    for one in rows(report, "cascades"):
        gap = words.difference(mapping(one, "difference"), known)
        dear_usd = words.money(one.get("dear_usd_per_1000"))
        before, is_tested = mapping(one, "validation"), one.get("part") == "test"
        lines.append(
            (
                Cell(
                    f"{words.visible(one.get('cheap'))}, then {words.visible(one.get('dear'))}",
                    f"below {words.score(one.get('threshold'))}",
                ),
                Cell(words.percent(one.get("passed_on"))),
                Cell(words.score(before.get("score"), known), words.sample(before)),
                Cell(words.score(one.get("score"), known), words.sample(one)) if is_tested else Cell(""),
                Cell(gap),
                Cell(words.money(one.get("usd_per_1000")), f"alone {dear_usd}"),
            )
        )
    heads = ("passed on", f"{metric_name(report)}, validation", "test", "against the second alone", "$ per 1,000")
    columns = (Column("cascade", False), *map(Column, heads))
    lead = (
        "The first way answers; where its confidence is below the threshold, the second is asked. Computed from the answers "
        "of this study, nothing was run for it. Thresholds and order are those of validation, where a score is a bit too good; "
        "test stands beside it where both ways were opened there, and the difference is of the latest part."
    )
    shown = (table("A cheap way before a dear one", columns, lines) if lines else None, _blended(report))
    found = tuple(one for one in shown if one)
    return Section("cascades", "Would two ways together be better?", lead if lines else "", (), found)


def _blended(report: Report) -> Table | None:
    """Return what the two best ways reach where both are asked and their probabilities averaged."""
    one, known = mapping(report, "blend"), metric(report)
    if not one:
        return None
    before, is_tested = mapping(one, "validation"), one.get("part") == "test"
    line = (
        Cell(" and ".join(map(words.visible, things(one, "of")))),
        Cell(words.score(before.get("score"), known), words.sample(before)),
        Cell(words.score(one.get("score"), known), words.sample(one)) if is_tested else Cell(""),
        Cell(words.difference(mapping(one, "difference"), known), f"{words.visible(one.get('better'))} alone"),
        Cell(words.money(one.get("usd_per_1000"))),
    )
    heads = (f"{metric_name(report)}, validation", "test", "against the better of the two", "$ per 1,000")
    note = "The two of the highest validation scores, both asked about each row; an equal mean, nothing is tuned."
    columns = (Column("blend", False), *map(Column, heads))
    return replace(table("The two best ways, their probabilities averaged", columns, [line]), note=note)


def _at_coverage(curve: Sequence[Row], share: float) -> Cell:
    """Return the point of the curve nearest to a coverage."""
    near = min(curve, key=lambda one: abs((words.number(one.get("coverage")) or 0.0) - share), default={})
    return Cell(words.score(near.get("score")), f"from {words.score(near.get('threshold'))}")
