"""The section on what was measured beside the metric that decides: further metrics, and a model as judge."""

from __future__ import annotations

from whichway.report import words
from whichway.report.reading import Report, Row, at, mapping, measured, winner_name
from whichway.report.sections import Cell, Column, Section, Table, table

USABLE, WEAK = 0.6, 0.2  # Cohen's kappa: from here on substantial, up to here slight (Landis and Koch 1977)


def beside(report: Report) -> Section:
    """Return further metrics of the same answers, and what a judge says, with its agreement with people."""
    tables = (*_further(report), *_judged(report))
    lead = "These decide nothing: the recommendation rests on the metric of the task alone." if tables else ""
    return Section("beside", "What else was measured", lead, _judge_said(report), tables)


def _further(report: Report) -> tuple[Table, ...]:
    every = measured(report)
    names = list(dict.fromkeys(name for one in every for name in mapping(one, "further")))
    lines = []
    for one in every:
        part = "test" if any(at(one, "further", name, "test") for name in names) else "validation"
        cells = [_score(mapping(one, "further", name, part)) for name in names]
        lines.append((Cell(words.visible(one.get("strategy")), part), *cells))
    marked = next((i for i, one in enumerate(every) if one.get("strategy") == winner_name(report)), None)
    columns = (Column("way", False), *(Column(name.replace("_", " ")) for name in names))
    return (table("Further metrics, with 95% intervals", columns, lines, marked),) if names else ()


def _score(found: Row) -> Cell:
    value = words.score(found.get("value"))
    return Cell(value, f"{words.interval(found)}, {words.sample(found)}" if value != words.MISSING else "")


def _judged(report: Report) -> tuple[Table, ...]:
    grades = mapping(report, "judge", "grades")
    lines = [
        (Cell(words.visible(name)), Cell(words.score(at(one, "grade")), words.sample(one)))
        for name, one in grades.items()
        if isinstance(one, dict)
    ]
    made = table("Grades by the judge, 1 to 5", (Column("answers", False), Column("mean grade")), lines)
    return (made,) if lines else ()


def _judge_said(report: Report) -> tuple[str, ...]:
    """Return the judge's verdict, and before it how far it agrees with people."""
    found, problem = mapping(report, "judge"), report.get("judge_problem")
    if not found:
        return (f"Judge: {words.visible(problem)}",) if problem else ()
    kappa, n = words.number(at(found, "agreement", "kappa")) or 0.0, at(found, "agreement", "n")
    worth = "its verdicts are usable" if kappa >= USABLE else "read its verdicts with care"
    if kappa >= USABLE and not found.get("rejected"):
        worth = (
            "that is easy, and whether it tells a good answer from a poor one to the same row is not known; answers that people "
            "rejected (`rejected` beside the row's output) would tell"
        )
    if kappa < WEAK:
        worth = "it tells little more than chance: do not rely on what it says below"
    other = "the answer to another row"
    if found.get("rejected"):
        other = f"one that they rejected ({words.count(found.get('rejected'))} rows; else {other})"
    said = [
        f"Judge: {words.visible(found.get('model'))}. Between people's own answer and {other} it chose "
        f"people's own, whichever stood first, in {words.percent(at(found, 'agreement', 'agreement'))} of "
        f"{words.count(n)} rows (Cohen's kappa {words.score(kappa)}): {worth}. In {words.percent(found.get('one_sided'))} "
        "of the rows its verdict changed when the two answers changed places."
    ]
    pair = mapping(found, "pair")
    if pair:
        said.append(
            f"{words.visible(pair.get('a'))} against {words.visible(pair.get('b'))}, judged in both orders: "
            f"{words.count(pair.get('a_wins'))} to {words.count(pair.get('b_wins'))}, {words.count(pair.get('ties'))} ties."
        )
    return tuple(said)
