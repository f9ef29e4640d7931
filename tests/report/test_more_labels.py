"""The section on labels: break-even sentences, prices of what more labels bring, and why a way has no curve."""

from __future__ import annotations

from typing import Any

import pytest
from sample import report, trial
from sample_labels import even

from whichway.report.guarantees import sentences
from whichway.report.labels import fine_tuning, more_labels, price
from whichway.report.verdict import certainty
from whichway.report.write import render

SLOW = "its smaller fits would take about 98 s (limit 30 s; --exhaustive measures them)"


def tuned(name: str, way: str = "finetune", **more: Any) -> dict[str, Any]:
    return trial(name, way=way, **more)


def told(**changes: Any) -> str:
    """Return the first sentence of the section for the way `encoder` with other break-even labels."""
    grown = report()["labels"][1]
    (said,) = more_labels(
        report(labels=[{**grown, "break_even": even("probe", **changes)}], labels_missing=[], trials=[])
    ).items
    return said


def test_break_even_labels_are_told_up_to_four_times_the_labels_at_hand_and_no_farther() -> None:
    assert told(median=205, low=150, high=600) == (
        "encoder passes probe as it is now from about 205 labels on (80 %: 150 to 600); the labels at hand are enough with "
        "probability 20%."
    )
    assert "(80 %: 150 to more than 896)" in told(median=205, low=150, high=None)
    beyond = "encoder needs more than 896 labels to pass probe as it is now "
    beyond += "(4 times the labels at hand; farther is not foretold)."
    assert told(median=None, low=300, high=None) == told(median=5_000, low=300, high=14_336) == beyond
    assert told(median=12, low=10, high=20) == "encoder passes probe as it is now from 28 labels on, or fewer."


def test_gains_stand_beside_what_they_cost_and_what_a_point_costs() -> None:
    gains, prices, _ = more_labels(report()).tables
    for one in (gains, prices):
        assert [head.small for head in one.columns] == ["", "for $5.60", "for $11.20", "for $33.60"] and one.note == ""
    probe, _, flat = gains.rows
    assert (probe[1].text, probe[1].small) == ("+0.010", "-0.010 to +0.040")
    probe, _, flat = prices.rows
    assert (probe[1].text, probe[1].small, flat[1].text) == ("$5.60", "$1.40 or more", "no gain to be expected")
    assert price({"usd": 10.0, "usd_per_point": {"value": 4.0, "low": 2.0, "high": 8.0}}) == ("$4.00", "$2.00 to $8.00")


def test_without_a_price_of_labels_the_key_to_set_is_named() -> None:
    free = report()
    for way in free["labels"]:
        way["gains"] = [{**one, "usd": None, "usd_per_point": None} for one in way["gains"]]
    gains, measured = more_labels(free).tables
    assert measured.caption.startswith("Measured")
    assert "objective.label_usd" in gains.note and "$" not in "".join(one.small for row in gains.rows for one in row)


@pytest.mark.parametrize(
    ("trials", "missing", "said"),
    [
        ([tuned("finetune")], {}, ""),
        (
            [tuned("finetune")],
            {"finetune": SLOW},
            f"wins is not known, as finetune has no label curve: {SLOW}. To find out: whichway run task.yaml --exhaustive",
        ),
        (
            [tuned("finetune"), tuned("encoder", "encoder")],
            {"finetune": "too few rows"},
            "wins is not known of all ways, as finetune has no label curve: too few rows.",
        ),
        ([tuned("finetune", state="skipped", reason="needs trl")], {}, "finetune was skipped (needs trl)."),
        ([trial("probe")], {"probe": SLOW}, "no way that fine-tunes took part (run it with finetune or encoder among"),
        ([tuned("raft", "raft")], {}, ""),
        (
            [tuned("rag-finetune", "raft")],
            {"rag-finetune": "too few rows"},
            "as rag-finetune has no label curve: too few rows.",
        ),
        (
            [tuned("raft", "raft", state="skipped", reason="no documents")],
            {},
            "no way that fine-tunes took part (run it with finetune or encoder among",
        ),
        ([], {}, ""),
    ],
)
def test_it_is_told_from_how_many_labels_fine_tuning_wins_or_why_not_and_what_to_run(
    trials: list[dict[str, Any]], missing: dict[str, str], said: str
) -> None:
    listed = [{"strategy": name, "reason": reason} for name, reason in missing.items()]
    found = report(trials=trials, labels_missing=listed, reproduce={"command": "whichway run task.yaml"})
    assert said in fine_tuning(found) and bool(fine_tuning(found)) is bool(said)
    section = more_labels(found)
    assert section.items[0].startswith("How many more labels until") is bool(said)
    for name, reason in missing.items():
        assert sum(f"{name} has no label curve: {reason}" in one for one in section.items) == 1


def test_the_command_that_was_exhaustive_already_is_not_told_again() -> None:
    listed = [{"strategy": "finetune", "reason": SLOW}]
    found = report(trials=[tuned("finetune")], labels_missing=listed)
    found["reproduce"]["command"] = "whichway run task.yaml --exhaustive"
    assert "To find out" not in fine_tuning(found)


def test_each_tier_of_certainty_has_its_own_sentence() -> None:
    first, second, third = sentences(report())
    assert first == (
        "Guaranteed, whenever one looks (G1): majority is ruled out by an anytime-valid test over all ways that were opened; "
        "with probability at least 95% the best of those is not majority. Dropped by estimate, which guarantees nothing: "
        "nearest and prompt <i>."
    )
    assert second == (
        "Guaranteed once (G2): the test intervals of probe, encoder and prompt-few hold together with probability at least 95% "
        "(98.3% each, n = 160 sealed rows that nothing was tuned on)."
    )
    assert third == (
        "Estimates, by models that may be wrong (G3): every probability (for probe: P(best) 71%, P(meets every requirement) "
        "100%, P(a better one was left aside) 4%); what more labels would bring probe and encoder; why nearest and prompt <i> "
        "went no further."
    )
    assert sentences({}) == []


def test_probabilities_carry_the_word_estimate_where_they_stand() -> None:
    page = " ".join(render(report(), "md").split())
    assert "P(best), estimate |" in page and "Probability (estimate) that it is the best" in page
    assert (
        certainty(report(recommendation={**report()["recommendation"], "p_good_enough": 0.9})).count("(estimate)") == 1
    )


def test_where_all_that_was_dropped_was_ruled_out_the_best_is_among_those_kept_and_a_bootstrap_is_no_guarantee() -> (
    None
):
    found = report()["guarantees"]
    found["g1"] |= {"by_estimate": [], "ruled_out": ["majority", "nearest"]}
    found["g2"] |= {"exact": False, "finalists": [{"strategy": "probe", "n": 160}]}
    first, second, _ = sentences(report(guarantees=found))
    assert "majority and nearest are ruled out" in first and first.endswith(
        "the best of those is still among those kept."
    )
    assert second.startswith(
        "Certified by the bootstrap, hence nearly (G2): the test interval of probe holds with probability about"
    )
    found["g1"] |= {"used": False, "ruled_out": [], "why_not": "rows come in groups"}
    found["g2"] = {"finalists": [], "why_not": "no test part was sealed"}
    first, second, _ = sentences(report(guarantees=found))
    assert first == "Nobody is ruled out by the anytime-valid test (G1): rows come in groups."
    assert second == "Nothing is certified (G2): no test part was sealed."
