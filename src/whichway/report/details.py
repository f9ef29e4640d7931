"""The sections for engineers: labels, confusions, calibration, spend, task, data, threats, how to repeat it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from whichway.report import words
from whichway.report.beside import beside
from whichway.report.costs import over_time
from whichway.report.found import abstaining, cascaded, retrieval
from whichway.report.guarantees import guaranteed
from whichway.report.labels import more_labels
from whichway.report.plots.calibration import share_interval
from whichway.report.prompts import prompts
from whichway.report.reading import Report, Row, at, mapping, metric, metric_name, rows, things, winner_name
from whichway.report.sections import Cell, Column, Section, scores, skipped, table, ways, worth, would_change
from whichway.report.taught import taught

PHASES = ("fit", "validation", "latency", "consistency", "refit", "test")
MOST_ROWS = 60  # of disagreements and confusions: they are read one by one


def sections(report: Report) -> tuple[Section, ...]:
    """Return everything below the verdict, in order, without sections that have nothing to say."""
    makers = (scores, guaranteed, ways, worth, over_time, cascaded, retrieval, taught, prompts, beside, classes, confusions,
              disagreements, more_labels, would_change, calibration, abstaining, spend, asked, data, threats, skipped,
              repeat)  # fmt: skip
    found = [make(report) for make in makers]
    return tuple(one for one in found if one.lead or one.items or one.tables or one.code)


def classes(report: Report) -> Section:
    """Return precision, recall and F1 per label, the weakest label of the recommended strategy first."""
    every = rows(report, "per_class")
    if not every:
        return Section("classes", "Label by label")
    kind = "field" if at(report, "task", "output", "shape") == "fields" else "label"
    names = _names(every, "scores")
    main = winner_name(report) if winner_name(report) in names else "".join(names[:1])
    lines = []
    for one in sorted(every, key=lambda one: _least(at(one, "scores", str(main), "f1"))):
        scores = [_class_cell(one, name) for name in names]
        lines.append((Cell(words.cut(one.get("label"), 80)), Cell(words.count(one.get("n"))), *scores))
    columns = (Column(kind, False), Column("rows"), *(Column(words.visible(name)) for name in names))
    lead = (
        f"F1 per {kind}{_where(report)}, the weakest first; below it precision (P) and recall (R), "
        f"with the 95% interval that the rows of that {kind} allow for recall."
    )
    title = f"{kind.capitalize()} by {kind}"
    return Section("classes", title, lead, (), (table(f"F1 per {kind}", columns, lines),))


def confusions(report: Report) -> Section:
    """Return which labels are taken for which, the most frequent first."""
    name = winner_name(report)
    every = [one for one in rows(report, "confusions") if one.get("true") != one.get("answered")]
    own = [one for one in every if one.get("strategy") == name] or every
    lines = []
    for one in sorted(own, key=lambda one: -(words.number(one.get("n")) or 0)):
        texts = [Cell(words.cut(one.get(part), 80)) for part in ("strategy", "true", "answered")]
        lines.append((*texts, Cell(words.count(one.get("n")))))
    columns = (Column("way", False), Column("right answer", False), Column("answered", False), Column("rows"))
    lead = (
        f"Where {words.visible(name)} goes wrong{_where(report)}."
        if any(one.get("strategy") == name for one in own)
        else ""
    )
    shown = (_few("Most frequent confusions", columns, lines),) if lines else ()
    return Section("confusions", "What is taken for what", lead, (), shown, is_plotted=True)


def disagreements(report: Report) -> Section:
    """Return rows that finalists answer differently."""
    every = rows(report, "disagreements")
    names = _names(every, "answers")
    lines = [
        (Cell(words.cut(one.get("text"), 400), words.cut(one.get("id"), 60)), Cell(words.cut(one.get("true"), 80)),
         *(_answer(mapping(one, "answers", name), one.get("true")) for name in names))
        for one in every
    ]  # fmt: skip
    columns = (
        Column("row", False),
        Column("right answer", False),
        *(Column(words.visible(name), False) for name in names),
    )
    lead = "Rows on which the finalists disagree: read a few to see what a higher score buys. ✓ marks a right answer."
    if at(report, "task", "output", "shape") in ("text", "fields"):
        lead = "Some rows and what the finalists answered: read a few to see what a higher score buys. ✓ marks the very answer."
    shown = (_few("Answers of the finalists", columns, lines),) if lines else ()
    return Section("disagreements", "Rows where finalists disagree", lead if lines else "", (), shown)


def calibration(report: Report) -> Section:
    """Return how often answers are right at each stated confidence."""
    lines = []
    for name in mapping(report, "calibration"):
        for one in rows(report, "calibration", str(name)):
            low, high = share_interval(one.get("accuracy"), one.get("n"))
            around = words.interval({"low": low, "high": high}) if low is not None else ""
            stated, right = (Cell(words.score(one.get("confidence"))), Cell(words.score(one.get("accuracy")), around))
            lines.append(
                (Cell(words.visible(name)), Cell(words.interval(one)), Cell(words.count(one.get("n"))), stated, right)
            )
    columns = (Column("way", False), *map(Column, ("confidence from-to", "rows", "mean confidence", "right")))
    lead = (
        "A point on the diagonal means: of the answers given with 80% confidence, 80% are right. "
        "Above it, a way is too modest; below it, too sure. The bars show how many answers had which confidence."
    )
    shown = (table("Stated confidence and share of right answers", columns, lines),) if lines else ()
    return Section("calibration", "Can its confidence be trusted?", lead if lines else "", (), shown, is_plotted=True)


def spend(report: Report) -> Section:
    """Return what the study itself cost, by strategy and phase."""
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0, 0.0]))
    for one in rows(report, "spend_by"):
        for i, unit in enumerate(("seconds", "usd", "tokens")):
            sums[str(one.get("strategy") or "?")][str(one.get("phase") or "?")][i] += words.number(one.get(unit)) or 0.0
    met = {phase for phases in sums.values() for phase in phases}
    known = [*(one for one in PHASES if one in met), *sorted(met - set(PHASES))]
    lines = []
    for name, phases in sorted(sums.items(), key=lambda item: -sum(phase[0] for phase in item[1].values())):
        together = [sum(part) for part in zip(*phases.values(), strict=True)]
        lines.append((Cell(words.visible(name)), *(_spent(phases.get(phase)) for phase in known), _spent(together)))
    columns = (Column("way", False), *(Column(words.visible(one)) for one in known), Column("together"))
    total, lead = mapping(report, "spent"), ""
    if total:
        time, tokens = (words.duration(total.get("seconds")), words.count(total.get("tokens") or 0))
        lead = f"This study took {time}, {words.money(total.get('usd'))} and {tokens} tokens.{_planned(total)}"
    shown = (table("Spend by way and phase", columns, lines),) if lines else ()
    prices = tuple(words.price(one) for one in rows(report, "prices"))
    return Section("spend", "What the study cost", lead, (*prices, *_at_once(report)), shown, is_plotted=True)


def _at_once(report: Report) -> list[str]:
    """Say how many calls at once each endpoint takes, as far as the study has learnt it."""
    return [
        f"{words.visible(name)} takes {words.count(at(one, 'learnt'))} calls at once, as learnt from its refusals "
        f"(max_concurrency {words.count(at(one, 'allowed'))})."
        for name, one in mapping(report, "timing", "at_once").items()
        if isinstance(one, Mapping) and (words.number(at(one, "learnt")) or 0) < (words.number(at(one, "allowed")) or 0)
    ]


def _planned(total: Row) -> str:
    """Return what endpoints were expected to cost before the run, where anything was."""
    said = mapping(total, "planned")
    if not words.number(said.get("usd")):
        return ""
    return f" Planned before it: {words.money(said.get('usd'))}, at most {words.money(said.get('most_usd'))}."


def asked(report: Report) -> Section:
    """Return the task as it was understood: instruction, parts, requirements, objective."""
    task = mapping(report, "task")
    fields = [f"{words.visible(one.get('name'))} ({words.visible(one.get('kind'))})" for one in rows(task, "fields")]
    settings = _settings(mapping(metric(report), "settings"))
    facts = {
        "instruction": words.cut(task.get("instruction") or "", 1200),
        "fields": ", ".join(fields),
        "labels": _labels(task),
        "metric": f"{metric_name(report)} ({settings})" if settings else metric_name(report),
        "split": _split(mapping(report, "split")),
        "requirements": _settings(mapping(task, "constraints")),
        "objective": _settings(mapping(task, "objective")),
    }
    lines = [(Cell(name), Cell(said)) for name, said in facts.items() if said]
    columns = (Column("what", False), Column("as understood", False))
    return Section("asked", "What was asked", "", (), (table("The task", columns, lines),) if task else ())


def data(report: Report) -> Section:
    """Return what was noticed about the data, warnings first."""
    order = {"error": 0, "warning": 1, "info": 2}
    lines = []
    for one in sorted(rows(report, "data", "findings"), key=lambda one: order.get(str(one.get("severity")), 3)):
        message = Cell(words.cut(one.get("message") or "", 800), words.visible(one.get("code") or ""))
        lines.append((Cell(words.visible(one.get("severity"))), message))
    shown = (table("Findings", (Column("severity", False), Column("finding", False)), lines),) if lines else ()
    size, found = (words.number(at(report, "data", "rows")), words.plural(len(lines), "finding"))
    lead = f"{words.plural(int(size), 'row')} checked; {found}." if size is not None else ""
    return Section("data", "What was noticed about the data", lead, (), shown)


def threats(report: Report) -> Section:
    """Return what could make these numbers mislead."""
    return Section(
        "threats", "Threats to validity", "", tuple(words.cut(one, 800) for one in things(report, "threats") if one)
    )


def repeat(report: Report) -> Section:
    """Return the command that reproduces the study, with versions and fingerprints."""
    machine = mapping(report, "timing", "machine")
    facts = {
        "seed": words.visible(at(report, "reproduce", "seed")),
        "task fingerprint": words.visible(at(report, "task", "fingerprint")),
        "split fingerprint": words.visible(at(report, "split", "fingerprint")),
        **{
            words.visible(name): words.cut(version, 200)
            for name, version in mapping(report, "reproduce", "versions").items()
        },
        "started": words.visible(at(report, "timing", "started")),
        "finished": words.visible(at(report, "timing", "finished")),
        "machine": ", ".join(_machine(machine)) or words.MISSING,
    }
    lines = [(Cell(name), Cell(said)) for name, said in facts.items() if said != words.MISSING]
    shown = (
        (table("Versions, fingerprints and machine", (Column("what", False), Column("which", False)), lines),)
        if lines
        else ()
    )
    command = words.cut(at(report, "reproduce", "command") or "", 2000)
    return Section("repeat", "How to repeat it", "", (), shown, command)


def _names(every: Sequence[Row], part: str) -> list[str]:
    """Return the strategies that occur, in the order of their first appearance."""
    return list(dict.fromkeys(str(name) for one in every for name in mapping(one, part)))


def _where(report: Report) -> str:
    """Return ' on test, n = 160' where the labels' rows add up to exactly one part."""
    total = sum(words.number(one.get("n")) or 0.0 for one in rows(report, "per_class"))
    fits = [part for part in ("test", "validation") if total and words.number(at(report, "split", part)) == total]
    return f" on {fits[0]}, n = {words.count(total)}" if len(fits) == 1 else ""


def _least(value: Any) -> float:
    known = words.number(value)
    return 2.0 if known is None else known


def _class_cell(one: Row, name: str) -> Cell:
    found = mapping(one, "scores", name)
    if words.number(found.get("f1")) is None:
        return Cell(words.MISSING)
    low, high = share_interval(found.get("recall"), one.get("n"))
    around = words.interval({"low": low, "high": high})
    small = f"P {words.score(found.get('precision'))}, R {words.score(found.get('recall'))}"
    return Cell(words.score(found.get("f1")), small if around == words.MISSING else f"{small} ({around})")


def _answer(found: Row, right: Any) -> Cell:
    if found.get("value") is None:
        return Cell("no answer" if found else words.MISSING)
    sure = words.number(found.get("confidence"))
    mark = " ✓" if found.get("value") == right else ""
    return Cell(words.cut(found.get("value"), 80) + mark, f"confidence {sure:.2f}" if sure is not None else "")


def _few(caption: str, columns: tuple[Column, ...], lines: Sequence[tuple[Cell, ...]]) -> Any:
    found = table(caption, columns, lines[:MOST_ROWS])
    rest = len(lines) - MOST_ROWS
    return (
        found
        if rest <= 0
        else type(found)(caption, columns, found.rows, None, f"{words.count(rest)} more in report.json.")
    )


def _spent(parts: Sequence[float] | None) -> Cell:
    if not parts:
        return Cell(words.MISSING)
    aside = [words.money(parts[1])] if parts[1] else []
    aside += [f"{words.count(parts[2])} tokens"] if parts[2] else []
    return Cell(words.duration(parts[0]), ", ".join(aside))


def _split(split: Row) -> str:
    parts = [
        f"{words.count(split.get(part))} {part}"
        for part in ("train", "validation", "test")
        if words.number(split.get(part))
    ]
    folds = words.number(split.get("folds")) or 1
    more = [f"{words.count(folds)} folds"] if folds > 1 else []
    more += ["test rows from a file of their own"] if split.get("test_from") == "file" else []
    more += ["too few rows to certify a choice"] if split.get("certificate") is False else []
    return ", ".join([*parts, *more])


def _settings(found: Row) -> str:
    return ", ".join(_setting(str(name), value) for name, value in found.items() if value not in (None, {}, [], ""))


def _setting(name: str, value: Any) -> str:
    """Return 'max cost per 1000: $0.50' for max_cost_per_1000_usd: the unit in the name goes to the number."""
    units = {"usd": words.money, "ms": words.latency, "mb": words.memory}
    parts = words.visible(name).split("_")
    unit = next((one for one in parts if one in units), None)
    if unit and words.number(value) is not None:
        return f"{' '.join(one for one in parts if one != unit)}: {units[unit](value)}"
    whole = words.number(value) is not None and float(value).is_integer()
    return f"{' '.join(parts)}: {words.count(value) if whole else words.cut(value, 200)}"


def _labels(task: Row) -> str:
    labels = things(task, "output", "labels")
    several = " (several per row)" if at(task, "output", "multi") else ""
    listed = words.cut(", ".join(map(words.visible, labels[:200])), 600)
    return f"{words.count(len(labels))}{several}: {listed}" if labels else ""


def _machine(machine: Row) -> list[str]:
    cores, size = (words.number(machine.get("cores")), words.number(machine.get("memory_gb")))
    said = [words.cut(machine.get("processor"), 100) if machine.get("processor") else ""]
    said += [
        words.plural(int(cores), "core") if cores is not None else "",
        f"{words.three(size)} GB" if size is not None else "",
    ]
    return [one for one in (*said, words.cut(machine.get("gpu") or "", 100)) if one]
