"""The section that keeps apart what is guaranteed and what is an estimate: one sentence for each tier, made of this study."""

from __future__ import annotations

from whichway.report import words
from whichway.report.reading import Report, at, mapping, rows, things, winner_name
from whichway.report.sections import Section


def guaranteed(report: Report) -> Section:
    """Return the three tiers, one sentence or two each."""
    said = tuple(one for one in sentences(report) if one)
    return Section("guaranteed", "What is guaranteed, and what is an estimate", "", said)


def sentences(report: Report) -> list[str]:
    """Return one text for each tier that the report knows of."""
    return [_elimination(report), _certificate(report), _estimates(report)] if mapping(report, "guarantees") else []


def _elimination(report: Report) -> str:
    found = mapping(report, "guarantees", "g1")
    gone, guessed = (_names(things(found, key)) for key in ("ruled_out", "by_estimate"))
    alpha = words.number(found.get("alpha")) or 0.0
    rest = f" Dropped by estimate, which guarantees nothing: {guessed}." if guessed else ""
    if gone:
        several = len(things(found, "ruled_out")) > 1
        kept = f"is {'none of these' if several else f'not {gone}'}" if guessed else "is still among those kept"
        return (
            f"Guaranteed, whenever one looks (G1): {gone} {'are' if several else 'is'} ruled out by an anytime-valid test over "
            f"all ways that were opened; with probability at least {words.percent(1 - alpha)} the best of those {kept}.{rest}"
        )
    if found.get("why_not"):
        return f"Nobody is ruled out by the anytime-valid test (G1): {words.cut(found.get('why_not'), 200)}.{rest}"
    return f"Nobody is ruled out by the anytime-valid test at {words.percent(alpha)} (G1).{rest}" if found else ""


def _certificate(report: Report) -> str:
    found = mapping(report, "guarantees", "g2")
    tested = rows(found, "finalists")
    if not tested:
        why = words.cut(found.get("why_not") or "", 200)
        return f"Nothing is certified (G2): {why}." if why else ""
    names = _names([one.get("strategy") for one in tested])
    sizes = {words.count(one.get("n")) for one in tested}
    share, each = (words.number(found.get(key)) or 0.0 for key in ("level", "level_of_each"))
    begun, how = (
        ("Guaranteed once", "at least") if found.get("exact") else ("Certified by the bootstrap, hence nearly", "about")
    )
    all_of = (
        f"the test intervals of {names} hold together" if len(tested) > 1 else f"the test interval of {names} holds"
    )
    return (
        f"{begun} (G2): {all_of} with probability {how} {words.percent(share)} ({100 * each:.1f}% each, "
        f"n = {' or '.join(sorted(sizes))} sealed rows that nothing was tuned on)."
    )


def _estimates(report: Report) -> str:
    found, name = mapping(report, "guarantees", "g3"), winner_name(report)
    if not found:
        return ""
    said = []
    for key, text in (("p_best", "P(best) {}"), ("p_feasible", "P(meets every requirement) {}"),
                      ("p_missed", "P(a better one was left aside) {}")):  # fmt: skip
        share = words.number(found.get(key))
        if share is not None and name:
            said.append(text.format(words.percent(share)))
    foretold = _names(things(found, "foretold"))
    parts = [f"every probability (for {words.visible(name)}: {', '.join(said)})" if said else "every probability"]
    parts += [f"what more labels would bring {foretold}"] if foretold else []
    parts += (
        [f"why {_names(things(report, 'guarantees', 'g1', 'by_estimate'))} went no further"]
        if at(report, "guarantees", "g1", "by_estimate")
        else []
    )
    return f"Estimates, by models that may be wrong (G3): {'; '.join(parts)}."


def _names(found: list[object]) -> str:
    """Return 'a, b and c'."""
    shown = [words.visible(one) for one in found]
    return " and ".join(one for one in (", ".join(shown[:-1]), *shown[-1:]) if one)
