"""The section on prompts: how far their form matters, what searching bought, and what each step of a way in steps did."""

from __future__ import annotations

import difflib

from whichway.report import words
from whichway.report.reading import Report, Row, at, mapping, measured, metric, rows, winner_name
from whichway.report.sections import Cell, Column, Section, Table, table

KINDS = {
    "paraphrase": "your paraphrases",
    "format": "other formats",
    "wording": "other wordings",
    "order": "other orders",
    "repeat": "drawn again",
}
STEPS = {"prompt": "the prompt", "weights": "the weights", "prompt again": "the prompt again"}
AGAIN = "searched again on all labels for the test part"
TESTED = "on the test part"
MOST_LINES = 60  # of a diff


def prompts(report: Report) -> Section:
    """Return spread over forms of the same prompt, gains of searches, edits with what each bought, and the diff."""
    tables = tuple(one for one in (_spread(report), _gains(report), _steps(report), _edits(report)) if one.rows)
    lead = (
        "A prompt says the same in many forms. Where the score moves with the form, it is fragile: a small edit, or "
        "another version of the model, may move it as far."
    )
    diff = "\n\n".join(_diff(one) for one in _every(report) if _changed(one))
    said = tuple(step_sentence(one, metric(report)) for one in rows(report, "steps") if measured_steps(one))
    return Section(
        "prompts", "Prompts: fragile or firm, and what searching bought", lead if tables else "", said, tables, diff
    )


def _every(report: Report) -> list[Row]:
    """Return all searches, each followed by the same one made again on all labels, where that found another prompt."""
    found: list[Row] = []
    for one in rows(report, "searches"):
        found.append(one)
        again = mapping(one, "refitted")
        if again and at(again, "best", "id") != at(one, "best", "id"):
            found.append({**again, "strategy": f"{words.visible(one.get('strategy'))}, {AGAIN}"})
    return found


def _changed(search: Row) -> bool:
    return mapping(search, "best").get("text") != mapping(search, "seed").get("text")


def measured_steps(way: Row) -> list[Row]:
    """Return the steps of a way in steps that were measured."""
    return [one for one in rows(way, "steps") if mapping(one, "score")]


def step_sentence(way: Row, known: Row) -> str:
    """Return in one sentence what each step of a way bought: what the prompt did, and what the weights did."""
    first, *others = measured_steps(way)
    begun = mapping(first, "score")
    parts = [f"the {words.visible(first.get('name'))} prompt scored {words.score(begun.get('value'), known)}"]
    parts += [f"{STEPS.get(_name(one), _name(one))} {words.difference(mapping(one, 'gain'), known)}" for one in others]
    left = [
        f"{STEPS.get(_name(one), _name(one))} ({words.cut(one.get('said'), 300)})"
        for one in rows(way, "steps")
        if not mapping(one, "prompt")
    ]
    said = f"{words.visible(way.get('strategy'))}, step by step on the same {words.sample(begun)}: {', '.join(parts)}."
    return f"{said} Not kept: {'; '.join(left)}." if left else said


def _name(step: Row) -> str:
    return words.visible(step.get("name"))


def _steps(report: Report) -> Table:
    known, lines = metric(report), []
    for way in rows(report, "steps"):
        for one in rows(way, "steps"):
            gain, _, around = words.difference(mapping(one, "gain"), known).partition(" ")
            cells = (Cell(gain, around.strip("()")) if mapping(one, "gain") else Cell(words.MISSING),)
            score = _scored(mapping(one, "score"), known) if mapping(one, "score") else Cell("not kept")
            said = Cell(words.cut(one.get("said"), 300))
            lines.append((Cell(words.visible(way.get("strategy"))), Cell(_name(one)), said, score, *cells))
    heads = (*(Column(one, False) for one in ("way", "step", "what was done")), Column("score"))
    columns = (*heads, Column("gain", True, "over the step before, on the same rows"))
    return table("What each step bought, on validation rows that no step has seen", columns, lines)


def _spread(report: Report) -> Table:
    known = metric(report)
    every = [one for one in measured(report) if mapping(one, "sensitivity")]
    kinds = [kind for kind in KINDS if any(mapping(one, "sensitivity", "kinds", kind) for one in every)]
    lines = []
    for one in every:
        found = mapping(one, "sensitivity")
        cells = [_kind(mapping(found, "kinds", kind), known) for kind in kinds]
        own = Cell(words.score(found.get("score"), known), words.sample({"n": found.get("rows")}))
        whole = " to ".join(words.score(found.get(end), known) for end in ("low", "high"))
        lines.append((Cell(words.visible(one.get("strategy"))), own, Cell(whole), *cells))
    marked = next((i for i, one in enumerate(every) if one.get("strategy") == winner_name(report)), None)
    columns = (Column("way", False), Column("as it is"), Column("all forms"), *(Column(KINDS[kind]) for kind in kinds))
    return table("Score of the same prompt in other forms, on the first validation rows", columns, lines, marked)


def _kind(found: Row, known: Row) -> Cell:
    if words.number(found.get("low")) is None:
        return Cell(words.MISSING)
    ends = [words.score(found.get(end), known) for end in ("low", "high")]
    shown = ends[0] if ends[0] == ends[1] else " to ".join(ends)
    return Cell(shown, f"{words.percent(found.get('same'))} of answers the same")


def _gains(report: Report) -> Table:
    known, lines = metric(report), []
    tested = [
        {**mapping(one, "test"), "strategy": f"{words.visible(one.get('strategy'))}, {TESTED}"}
        for one in rows(report, "searches")
        if mapping(one, "test")
    ]
    for one in [*rows(report, "searches"), *tested]:
        gain, _, around = words.difference(mapping(one, "gain"), known).partition(" ")
        lines.append(
            (
                Cell(words.visible(one.get("strategy")), _scored_prompts(one)),
                *(_scored(mapping(one, name), known) for name in ("seed_score", "best_score")),
                Cell(gain, around.strip("()")),
            )
        )
    columns = (Column("way", False), Column("seed"), Column("found"), Column("gain on the same rows"))
    return table(
        "What the search bought, on rows that it never saw: of validation, and of the test part where it was certified",
        columns,
        lines,
    )


def _scored_prompts(search: Row) -> str:
    if search.get("scored") is None:
        return "the seed is no finalist: it decides nothing"
    return f"{words.count(search.get('scored'))} prompts scored"


def _scored(found: Row, known: Row) -> Cell:
    return Cell(words.score(found.get("value"), known), f"{words.interval(found, known)}, {words.sample(found)}")


def _edits(report: Report) -> Table:
    lines = []
    stepped = [
        {**step, "strategy": way.get("strategy")} for way in rows(report, "steps") for step in rows(way, "steps")
    ]
    for one in [*_every(report), *stepped]:
        for edit in rows(one, "edits"):
            bought = words.number(edit.get("bought")) if edit.get("rows") else None
            lines.append(
                (
                    Cell(words.visible(one.get("strategy"))),
                    Cell(words.cut(edit.get("what"), 60)),
                    Cell(words.cut(edit.get("before"), 160)),
                    Cell(words.cut(edit.get("after"), 160)),
                    Cell(
                        "not by itself" if bought is None else f"{bought:+.3f}",
                        words.sample({"n": edit.get("rows") or None}),
                    ),
                )
            )
    heads = ("way", "change", "from", "to")
    columns = (*(Column(one, False) for one in heads), Column("bought", True, "lost when taken back alone"))
    return table("What each change of the prompt bought, on rows to learn from", columns, lines)


def _diff(search: Row) -> str:
    """Return the change of a prompt, line by line."""
    name = words.visible(search.get("strategy"))
    texts = [at(search, part, "text") for part in ("seed", "best")]
    before, after = (
        [words.visible(line) for line in text.splitlines()] if isinstance(text, str) else [] for text in texts
    )
    heads = [f"{name}: {part} {words.visible(at(search, part, 'id'))}" for part in ("seed", "best")]
    lines = list(difflib.unified_diff(before, after, heads[0], heads[1], lineterm="", n=1))
    left = len(lines) - MOST_LINES
    return "\n".join(lines[:MOST_LINES] + ([f"... {left} more lines: whichway prompts"] if left > 0 else []))
