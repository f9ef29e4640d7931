"""The bench runs: its sides on two rows each, and a side that fails costs the bench one row of its table."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from whichway.models.embedded import cache_folder

HOME = Path(__file__).resolve().parent.parent
BENCH = HOME / "bench"
PROMPTS = ["The box was crushed.\nAnswer:", "The box came a day early, thank you.\nAnswer:"]
LABELS = [" bad", " good"]
SIDES = {
    "score": ("whichway", "plain", "copied_prefix"),
    "step": ("whichway", "peft"),
    "train": ("whichway", "full", "trl_defaults", "trl_best"),
    "generate": ("whichway", "whichway_single", "transformers"),
    "embed": ("whichway", "whichway_again", "sentence_transformers"),
}


SCRIPT = """
import json, os, sys
how = {how!r}
assert how != "torn", "it is torn"
batch = int(os.environ.get("BATCH", "1"))
scores = [1.0] * 50 if how == "right" else [0.0] * 10 + [1.0] * 40
said = {{"seconds": 500.0 if how == "slow" else 5.0 / batch, "peak_mb": 1, "rows": 50, "quality": sum(scores) / 50}}
print("RESULT " + json.dumps({{**said, "scores": scores}}))
"""


@pytest.fixture
def compare(monkeypatch, tmp_path):
    """Import bench/compare.py and what it imports; what it makes on disk is made elsewhere."""
    monkeypatch.syspath_prepend(str(BENCH))
    found = importlib.import_module("compare")
    monkeypatch.setattr(found, "PEERS", tmp_path / ".bench")
    yield found
    for name in [one for one in sys.modules if one == "compare" or one.split(".")[0] == "side_by_side"]:
        sys.modules.pop(name)


@pytest.fixture
def measure(compare, tmp_path):
    """Make a measure of sides that are given by what they do: name -> how, or (how, batch)."""

    def make(name: str, **sides: Any) -> Any:
        listed = []
        for shown, said in sides.items():
            how, batch = said if isinstance(said, tuple) else (said, "")
            script = tmp_path / f"{how}.py"
            script.write_text(SCRIPT.format(how=how))
            listed.append((shown.replace("_", " "), str(script), "side", {"BATCH": batch} if batch else {}))
        return compare.Measure(name, dict, tuple(listed))

    return make


def run(compare: ModuleType, folder: Path, *chosen: Any) -> tuple[list[str], dict[str, Any], str]:
    """Return what failed, the measures that were written, and the table."""
    about = {"machine": "a machine", "peak_flops_per_s": None, "commit": "abc"}
    failed = compare.run(list(chosen), folder / "results.json", about, 2, True)
    return failed, json.loads((folder / "results.json").read_text())["measures"], (folder / "results.md").read_text()


def test_a_side_that_fails_costs_one_row_of_the_table_and_the_exit_code(
    compare, measure, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("torch")
    every = [measure("first", whichway="right", peer="torn", other="right"), measure("second", whichway="right")]
    monkeypatch.setattr(compare, "measures", lambda scale: every)
    monkeypatch.setattr(compare, "DATA", tmp_path)
    monkeypatch.setattr(sys, "argv", ["compare.py", "--anyway", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="first, peer") as left:
        compare.main()
    assert left.value.code, "not 0"
    (written,) = tmp_path.glob("results*.json")  # a machine without fast bf16 has a table of its own
    found = json.loads(written.read_text())["measures"]
    assert found["first"]["format"] == ("fp32" if written.name == "results-fp32.json" else "bf16")
    assert "it is torn" in found["first"]["sides"]["peer"]["failed"]
    assert found["first"]["sides"]["other"]["turns"] == found["second"]["sides"]["whichway"]["turns"] == 2
    assert "| first | peer | failed: AssertionError: it is torn |" in (table := written.with_suffix(".md").read_text())
    assert f"products in {found['first']['format']}" in table


def test_inputs_that_cannot_be_made_fail_their_measure_alone(compare, measure, tmp_path):
    def missing() -> dict[str, Any]:
        raise compare.Failed("rows.jsonl is missing")

    first = compare.Measure("first", missing, (("whichway", "x.py", "side", {}),))
    failed, found, _ = run(compare, tmp_path, first, measure("second", whichway="right"))
    assert failed == ["first, whichway"] and found["second"]["sides"]["whichway"]["rows"] == 50


def test_a_peer_whose_environment_cannot_be_made_fails_alone(compare, measure, tmp_path):
    one = measure("one", whichway="right", peer="right")
    failed, found, _ = run(compare, tmp_path, replace(one, needs=("unlisted",)))
    assert failed == ["one, peer"] and "peers-unlisted.txt" in found["one"]["sides"]["peer"]["failed"]


def test_each_measure_stands_with_its_own_date_rows_turns_peak_and_commit(compare, measure, tmp_path):
    known = {"date": "2020-02-02", "machine": "an older one", "peak_flops_per_s": 2e12, "commit": "old"}
    side = {"rows": 7, "turns": 1, "seconds": [3.5], "rows_per_s": 2.0, "spread": 0.0, "quality": 1.0, "peak_mb": 5}
    before = {**known, "sides": {"whichway": {**side, "foreign": 0.0, "flops_per_s": 1e12}}}
    (tmp_path / "results.json").write_text(json.dumps({"measures": {"old": before}}))
    _, found, table = run(compare, tmp_path, measure("new", whichway="right"))
    assert found["old"] == before and found["new"]["commit"] == "abc"
    assert "| old | whichway | 2.0 | 1.00 | 1.000 |  | 50 % | 5 | 0 % | 7 | 1 | 2020-02-02 |" in table
    assert f"| 50 | 2 | {found['new']['date']} |" in table


def test_of_several_batch_sizes_the_fastest_has_all_turns_and_a_slow_peer_one(compare, measure, tmp_path):
    sides = {"whichway": "slow", "p,_batch_1": ("right", "1"), "p,_batch_4": ("right", "4"), "tortoise": "slow"}
    _, found, _ = run(compare, tmp_path, measure("one", **sides))
    turns = {name: side["turns"] for name, side in found["one"]["sides"].items()}
    assert turns == {"whichway": 2, "p, batch 1": 1, "p, batch 4": 2, "tortoise": 1}


def test_a_quality_that_differs_by_more_than_chance_is_told_below_the_table(compare, measure, tmp_path):
    _, found, table = run(compare, tmp_path, measure("one", whichway="worse", peer="right", like="worse"))
    apart = found["one"]["sides"]["peer"]["unequal"]
    assert apart["by"] == -0.2 and 0.1 < apart["chance"] < 0.2 and apart["n"] == 50
    assert "unequal" not in found["one"]["sides"]["like"]
    assert "the quality of whichway's side is **lower** than that of peer by 0.200" in table and "of like" not in table


def test_one_row_in_fifty_is_within_chance(compare):
    table = importlib.import_module("side_by_side.table")
    assert table.unequal([1.0] * 50, [0.0] + [1.0] * 49) is None
    assert table.unequal([1.0, 1.0, 0.0], [1.0, 0.0]) is None, "not the same items: nothing is claimed"


@pytest.fixture
def others(compare, monkeypatch):
    """Let other processes use these shares of the machine, one after the other, each time we look."""
    machine = importlib.import_module("side_by_side.machine")
    monkeypatch.setattr(machine.time, "sleep", lambda seconds: None)

    def use(*shares: float) -> ModuleType:
        left = iter(shares)
        monkeypatch.setattr(machine, "_foreign", lambda before, after: next(left))
        return machine

    return use


def test_a_disturbed_run_is_repeated_once_the_machine_is_quiet(others):
    machine, done = others(0.0, 0.5, 0.3, 0.3, 0.0, 0.01), []
    assert machine.undisturbed(lambda: done.append(1) or len(done), False) == (2, 0.01)


def test_a_run_disturbed_three_times_is_not_taken(others):
    machine = others(0.0, 0.5, 0.0, 0.5, 0.0, 0.4)
    with pytest.raises(machine.Failed, match="40 %"):
        machine.undisturbed(lambda: 1, False)


def test_a_roof_measured_beside_others_is_not_told(others):
    pytest.importorskip("torch")
    assert others(0.0, 0.5, 0.0, 0.5, 0.0, 0.4).peak(False) is None
    assert others(0.0, 0.0).peak(False) > 0


def test_an_unknown_measure_is_named_with_those_there_are(compare, measure):
    with pytest.raises(SystemExit, match="no measure 'b'. Known: a"):
        compare._chosen([measure("a", whichway="right")], "b")


def test_every_side_that_a_measure_names_exists(compare, side):
    pytest.importorskip("torch")
    for one in compare.measures(0.01):
        for _, script, name, _ in one.sides:
            assert callable(getattr(side(script.removesuffix(".py")), name)), (one.name, script, name)


@pytest.fixture
def side(monkeypatch):
    """Import a script of bench/sides as if it were run: its neighbours are found by their bare names."""
    monkeypatch.syspath_prepend(str(BENCH / "sides"))
    own = {one.stem for one in (BENCH / "sides").glob("*.py")}
    monkeypatch.setenv("ROWS", "3")  # more than there are
    monkeypatch.setenv("BATCH", "2")
    monkeypatch.setenv("WHICHWAY_CACHE", str(cache_folder()))  # a side may set another one, for its own process

    def load(name: str) -> ModuleType:
        for one in own:
            sys.modules.pop(one, None)
        return importlib.import_module(name)

    yield load
    for one in own:
        sys.modules.pop(one, None)


def inputs(script: str) -> dict[str, Any]:
    """Return what bench/compare.py would give to a script, of two rows of our own."""
    from whichway.models.embedded import causal_folder, encoder_folder

    if script == "embed":
        return {"model": str(encoder_folder()), "texts": PROMPTS, "targets": ["a", "a"]}
    pairs = {"prompts": PROMPTS, "completions": LABELS, "held_prompts": PROMPTS, "held_completions": LABELS}
    scored = {"groups": [PROMPTS], "labels": LABELS, "targets": [0, 1]}
    return {"model": str(causal_folder()), "new": 3, **scored, **pairs}


@pytest.mark.slow
@pytest.mark.parametrize(("script", "name"), [(script, name) for script, names in SIDES.items() for name in names])
def test_every_side_that_needs_no_other_environment_runs_on_two_rows(side, script, name, monkeypatch):
    pytest.importorskip("torch")
    module = side(script)
    monkeypatch.setattr(module, "STEPS", 2, raising=False)
    found = getattr(module, name)(inputs(script))()
    assert found["rows"] > 0 and isinstance(found["quality"], float)
    assert sum(found["scores"]) / len(found["scores"]) == pytest.approx(found["quality"])


@pytest.mark.slow
def test_the_second_time_of_embedding_is_the_way_that_a_study_takes(side, monkeypatch):
    pytest.importorskip("torch")
    from whichway.models.encoder import SentenceEncoder
    from whichway.study import kit

    work, asked = side("embed").whichway_again(inputs("embed")), []
    monkeypatch.setattr(SentenceEncoder, "embed", None)  # nothing is embedded again
    real = kit.CachedEmbedder.embed
    monkeypatch.setattr(kit.CachedEmbedder, "embed", lambda self, texts: asked.append(texts) or real(self, texts))
    assert work()["rows"] == 2 and asked == [PROMPTS]


@pytest.mark.slow
def test_the_clock_of_our_scoring_counts_the_reading_of_all_prompts_as_the_peers_does(side, monkeypatch):
    pytest.importorskip("torch")
    from whichway.models import token_memo

    monkeypatch.setattr(token_memo, "_MEMOS", type(token_memo._MEMOS)())
    asked = [f"{'The parcel went round the whole town. ' * 9}{one}" for one in PROMPTS]  # longer than what warms up
    work = side("score").whichway({**inputs("score"), "groups": [asked]})
    (memo,) = token_memo._MEMOS.values()
    before = memo.read
    work()
    assert memo.read == before + len(PROMPTS)
