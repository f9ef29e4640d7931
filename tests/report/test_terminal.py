"""The verdict and the table in a terminal, wide and narrow."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from sample import report, trial

from whichway.report.terminal import print_table, print_verdict, trial_line


def shown(of: dict[str, object], width: int, **more: bool) -> str:
    """Return what is printed on a screen of that width."""
    console = Console(file=io.StringIO(), width=width, **more)  # type: ignore[arg-type]
    print_verdict(of, console)
    print_table(of, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_nothing_is_wider_than_the_screen_and_no_score_is_cut(width: int) -> None:
    said = shown(report(), width)
    assert all(len(line) <= width for line in said.splitlines())
    assert "0.881" in said and "…" not in said
    assert width < 80 or all(one in said for one in ("0.821-0.949", "0.831-0.931", "$0.0021", "5 min 12 s"))


def test_the_verdict_comes_first_in_words() -> None:
    lines = [line.strip() for line in shown(report(), 100).splitlines() if line.strip()]
    assert lines[0].startswith("Use probe: within 0.02")
    assert lines[1].startswith("Leaning. Likely, not certain.")
    assert any(line.startswith("Runner-up: encoder.") for line in lines)


def test_at_100_columns_every_way_takes_one_line_with_its_intervals() -> None:
    lines = shown(report(), 100).splitlines()
    assert any("> probe" in line and "0.885 (0.821-0.949)" in line and "0.881 (0.831-0.931)" in line for line in lines)


def test_skipped_and_failed_ways_say_why() -> None:
    said = " ".join(shown(report(), 100).split())
    assert "lora: skipped: would take 41 min, the budget has 12 min left" in said
    assert "rag: failed: the answer was cut off" in said


def test_ways_skipped_for_one_reason_share_a_line_and_have_no_row() -> None:
    ways = [trial(name, state="skipped", reason="no documents") for name in ("rag", "raft")]
    lines = shown(report(trials=[*report()["trials"][:1], *ways]), 100).splitlines()
    assert [line.strip() for line in lines if "raft" in line] == ["rag, raft: skipped: no documents"]


def test_control_characters_are_shown_and_there_is_no_colour_where_it_is_no_terminal() -> None:
    said = shown(report(), 100)
    assert "\x1b" not in said and "\\x1b[31mred" in said
    assert "\x1b[31m" not in shown(report(), 100, force_terminal=True)


def test_square_brackets_of_the_data_are_no_markup() -> None:
    odd = report(trials=[trial("[bold]x[/bold]", state="failed", reason="[red]no[/red] :warning:")])
    assert "[bold]x[/bold]" in shown(odd, 100) and "[red]no[/red] :warning:" in shown(odd, 100)


def test_an_early_end_is_printed_without_failing() -> None:
    for of in ({}, report(trials=[], recommendation=None), report(state="interrupted", recommendation={})):
        assert "No strategy can be recommended." in shown(of, 80)
    assert "interrupted" in shown(report(state="interrupted"), 80)


def test_where_no_way_met_the_target_the_ways_there_are_printed() -> None:
    none = {"strategy": None, "sentence": "No strategy met the target.", "would_change": ["Lower min_score to 0.8."]}
    assert "- Lower min_score to 0.8." in shown(report(recommendation=none), 80)
    assert "A required score above 0.89" not in shown(report(), 80)


def test_a_trial_that_ended_is_one_line() -> None:
    assert trial_line(report()["trials"][0]) == (
        "probe            0.885 (0.821-0.949) n = 96, $0.0021 per 1,000, p95 14.2 ms, built in 6.4 s"
    )
    assert trial_line(trial("lora", state="skipped", reason="needs\na GPU")) == "lora             skipped: needs a GPU"
    assert trial_line({}) and "\n" not in trial_line(trial("a\nb", reason="\x1b[2J"))


def test_the_scores_of_other_forms_of_a_prompt_stand_beside_its_own_where_there_is_room() -> None:
    found = {"rows": 16, "score": 0.75, "low": 0.5, "high": 0.8125, "kinds": {}}
    of = report()
    of["trials"][0]["sensitivity"] = found
    for width, seen in ((80, False), (119, False), (120, True), (140, True)):
        said = shown(of, width)
        assert ("0.500-0.812" in said) is seen and all(len(line) <= width for line in said.splitlines())
        assert ("in other forms, n = 16" in " ".join(said.split())) is seen
    (line,) = [line for line in shown(of, 140).splitlines() if "> probe" in line]
    assert line.index("0.885") < line.index("0.500-0.812") < line.index("0.881")
    assert "reworded" not in shown(report(), 140).split("steady")[0]
    assert "n = 96, in other forms 0.500-0.812 n = 16, " in trial_line(of["trials"][0])


def test_what_each_step_of_a_way_bought_is_said_in_one_sentence() -> None:
    said = " ".join(shown(report(), 100).split())
    assert "hybrid, step by step on the same n = 96: the seed prompt scored 0.520, the prompt +0.090 (+0.040 to" in said
    assert "the weights +0.220 (+0.170 to +0.270). Not kept: the prompt again (No headroom)." in said
