"""OpenVINO GenAI beside our own engine: no telemetry, no half full block shared by two, used only where it is worth it."""

# Those that write need the package and a converted folder of the embedded model: WHICHWAY_OPENVINO=FOLDER.

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from whichway.core.model import Request
from whichway.errors import MissingExtra, UsageError
from whichway.models import openvino_check, openvino_engine
from whichway.models.causal import CausalModel
from whichway.models.decoding import Ask, Written
from whichway.models.openvino_check import Verdict
from whichway.models.openvino_engine import BLOCK, FILES, Engine, Tails, examine

FOLDER = os.environ.get("WHICHWAY_OPENVINO", "")
IS_THERE = importlib.util.find_spec("openvino_genai") is not None
writes = pytest.mark.skipif(not (IS_THERE and FOLDER), reason="needs openvino-genai and WHICHWAY_OPENVINO=FOLDER")
GOOD = Verdict(2.0, 2.0, -1.0, -1.0)
CONFIG = {"vocab_size": 100, "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "model_type": "llama"}


def child(code: str, *roots: Path, **environment: str) -> str:
    path = os.pathsep.join([*map(str, roots), str(Path(openvino_engine.__file__).parents[2]), *sys.path])
    around = {**os.environ, "PYTHONPATH": path, **environment}
    done = subprocess.run([sys.executable, "-c", code], env=around, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def recorder(folder: Path) -> Path:
    """A telemetry package that leaves a file when it is imported."""
    (folder / "openvino_telemetry").mkdir(parents=True)
    said = f"open({str(folder / 'imported')!r}, 'w').close()\nclass Telemetry: ...\n"
    (folder / "openvino_telemetry" / "__init__.py").write_text(said)
    return folder


LOADS = "from whichway.models.openvino_engine import load; load('openvino_genai'); load('openvino')"


def test_packages_that_would_tell_are_loaded_without_their_telemetry(tmp_path):
    root = recorder(tmp_path)
    for name in ("openvino", "openvino_genai"):
        (root / f"{name}.py").write_text("try:\n    import openvino_telemetry\nexcept ImportError:\n    pass\n")
    child(LOADS, root)
    assert not (root / "imported").exists()


@pytest.mark.skipif(not IS_THERE, reason="needs openvino-genai")
def test_openvino_itself_is_loaded_without_telemetry_and_leaves_no_mark(tmp_path):
    root = recorder(tmp_path)
    child(LOADS, root, HOME=str(tmp_path / "home"))
    assert not (root / "imported").exists() and not (tmp_path / "home").exists()
    child("import openvino", root, HOME=str(tmp_path / "home"))  # what would happen without
    assert (root / "imported").exists()


def network(**other):
    config = SimpleNamespace(**CONFIG, **other)
    config.get_text_config = lambda decoder: config
    return SimpleNamespace(config=config)


def converted(folder: Path, **other) -> Path:
    for name in FILES:
        (folder / name).write_text("{}")
    (folder / "config.json").write_text(json.dumps(CONFIG | other))
    return folder


def test_a_missing_package_a_folder_that_is_none_and_other_weights_are_named_with_their_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as refused:
        examine(tmp_path, network())
    assert "whichway[openvino]" in refused.value.fix
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(UsageError, match="openvino_model.xml") as refused:
        examine(tmp_path, network())
    assert "optimum-cli export openvino" in refused.value.fix
    examine(converted(tmp_path), network())
    with pytest.raises(UsageError, match="vocab_size is 99, models.causal has 100"):
        examine(converted(tmp_path, vocab_size=99), network())
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(UsageError, match="cannot be read"):
        examine(tmp_path, network())


def test_of_prompts_that_go_on_from_one_half_full_block_one_goes_ahead():
    tails, start = Tails(), list(range(BLOCK + 5))
    rows = [[*start, *range(1000 + i, 1100 + i)] for i in range(4)] + [[7] * 40]
    assert list(tails.waves(rows)) == [[0, 1, 2, 3, 4]]
    tails.go_on(start, [9])  # its last token was chosen, and never read
    seen = []
    for wave in tails.waves(rows):
        seen.append(wave)
        for i in wave:
            tails.go_on(rows[i], [5, 5])
    assert seen == [[0, 4], [1, 2, 3]]


def test_a_block_that_the_one_ahead_did_not_fill_is_not_shared_by_the_others():
    tails, start = Tails(), list(range(BLOCK + 5))
    tails.go_on(start, [9])
    rows, seen = [[*start, i] for i in (70, 71, 72)], []
    for wave in tails.waves(rows):
        seen.append(wave)
        for i in wave:
            tails.go_on(rows[i], [5])
    assert seen == [[0], [1], [2]]


def test_whole_blocks_are_shared_by_all():
    tails, start = Tails(), list(range(2 * BLOCK))
    tails.go_on(start, [9])
    assert list(tails.waves([[*start, 9, i] for i in range(3)])) == [[0, 1, 2]]


def test_an_engine_that_is_slower_or_writes_worse_is_refused_with_both_numbers():
    assert GOOD.allows(1) and GOOD.allows(64) and not GOOD.refusal()
    slow = Verdict(1.1, 2.0, -1.0, -1.01)
    assert slow.allows(1) and not slow.allows(64)
    assert "many prompts at once" in slow.refusal() and "1.10" in slow.refusal() and "-1.010" in slow.refusal()
    worse = Verdict(3.0, 3.0, -1.0, -1.06)
    assert not worse.allows(1) and not worse.allows(64) and "all texts" in worse.refusal()
    assert not Verdict(3.0, 3.0, -1.0, -float("inf")).allows(1)


def test_a_verdict_is_kept_and_a_damaged_one_is_passed_over(tmp_path):
    file = tmp_path / "openvino" / "one.json"
    openvino_check._keep(file, GOOD)
    assert openvino_check._read(file) == GOOD
    for damaged in ("[", "{}", '{"many": "x"}', "[1]"):
        file.write_text(damaged)
        assert openvino_check._read(file) is None


@pytest.fixture(scope="module")
def model():
    made = CausalModel("embedded", openvino=FOLDER)
    made.quick._verdict = GOOD  # whatever this machine's speed
    return made


# Every answer is the same but for what the letter is about, so that no two tokens are about as likely.
START = "".join(
    f"Letter {number}: my {one} is broken.\nAnswer: We are sorry that your {one} is broken.\n\n"
    for number, one in enumerate(["broom", "ladder", "bucket", "hammer", "drill", "axe", "brush"], 12)
)
TAILS = [
    f"Letter {1000 + 37 * i}: my {one} is broken.\nAnswer:" for i, one in enumerate(["hose", "rake", "saw", "bag"] * 16)
]


def written(engine: Engine, rows, most: int = 8) -> list[list[int]]:
    asks = [Ask(tuple(row), most) for row in rows]
    return [one.tokens for one in engine.write(asks, frozenset())]


def alone(engine: Engine, rows, most: int = 8) -> list[list[int]]:
    """The same with nothing kept: what texts are held against."""
    how = engine._genai.SchedulerConfig()
    how.enable_prefix_caching, how.num_kv_blocks, how.max_num_batched_tokens = False, engine.room // BLOCK, 2048
    kept, tails = engine._pipeline, engine._tails
    engine._pipeline = engine._genai.ContinuousBatchingPipeline(FOLDER, how, "CPU", openvino_engine._properties())
    try:
        asks = [Ask(tuple(row), most) for row in rows]
        return [one.tokens for one in engine._together(asks, frozenset())]
    finally:
        engine._pipeline, engine._tails = kept, tails


def same(ours, theirs) -> float:
    return sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(ours)


@writes
def test_prompts_behind_one_that_was_asked_for_and_ended_within_a_block_are_answered_rightly(model):
    engine = Engine(Path(FOLDER), model.network)
    start = model.tokens(START)
    assert len(start) % BLOCK
    rows = [[*start, *model.tokens(one)] for one in TAILS]
    want = alone(engine, rows)
    written(engine, [start], 1)
    assert same(written(engine, rows), want) >= 0.95
    assert same(written(engine, rows[:8] * 2), want[:8] * 2) >= 0.95  # asked before, and twice


@writes
def test_prompts_that_begin_with_an_earlier_prompt_and_its_answer_are_answered_rightly(model):
    engine = Engine(Path(FOLDER), model.network)
    rows = [model.tokens(START + one) for one in TAILS[:4]]
    ends = [model.tokens(f"\n\nLetter {i}: my {i} pots broke.\nAnswer: We are sorry that your") for i in range(4)]
    for most in (1, 5):
        new = written(engine, rows, most)
        more = [[*row, *one, *ends[i]] for row, one in zip(rows, new, strict=True) for i in range(4)]
        more += [[*row, *ends[i]] for row in rows for i in range(4)]
        assert same(written(engine, more), alone(engine, more)) >= 0.95


@writes
def test_replies_say_what_ours_say_of_ends_counts_and_likelihood(model):
    ask = lambda **more: Request((("user", START + TAILS[0]),), continues=True, **more)  # noqa: E731
    asked = [ask(max_tokens=5), ask(max_tokens=40, stop=("\n",))]
    model.quick, quick = None, model.quick
    ours = model.generate(asked)
    model.quick = quick
    theirs = model.generate(asked)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.finish, a.spend.tokens_in, a.spend.cached_tokens) == (b.finish, b.spend.tokens_in, 0)
        assert a.text == b.text and abs(a.mean_logprob - b.mean_logprob) < 0.05 and b.spend.seconds > 0
    assert theirs[0].finish == "length" and theirs[0].spend.tokens_out == 5
    assert theirs[1].finish == "stop" and "\n" not in theirs[1].text
    said: list[str] = []
    told = model.tell(ask(max_tokens=5), said.append)
    assert "".join(said) == told.text == theirs[0].text


def test_only_free_greedy_text_that_our_own_engine_sees_all_of_is_written_by_it():
    seen: list[list[Ask]] = []
    quick = SimpleNamespace(write=lambda asks, *_: seen.append(asks) or [Written([7]), None])
    request = lambda **more: Request((("user", "Say yes."),), **more)  # noqa: E731
    asked = [request(), request(temperature=1.0), request(choices=("a", "b")), request(schema={}), request(), request()]
    asks = [Ask((i,), 3) for i in range(5)] + [None]
    which = SimpleNamespace(quick=quick, stops=frozenset)
    assert CausalModel._quickly(which, asked, asks, []) == {0: Written([7])}
    assert seen == [[asks[0], asks[4]]]


@writes
def test_writing_that_was_broken_off_leaves_an_engine_that_writes_on(model):
    def enough(_: object) -> None:
        raise KeyboardInterrupt

    request = Request((("user", "Name three garden tools."),), max_tokens=8)
    before = model.generate([request])[0].text
    with pytest.raises(KeyboardInterrupt):
        model.tell(request, enough)
    assert model.generate([request])[0].text == before


@writes
def test_the_check_is_made_once_for_weights_folder_and_processor(model, monkeypatch, tmp_path):
    file = tmp_path / "kept.json"
    said: list[str] = []
    calls: list[int] = []
    monkeypatch.setattr(openvino_check, "measure", lambda *_: calls.append(1) or GOOD)
    for _ in range(2):
        quick = openvino_check.Quick(model, Path(FOLDER), said.append)
        quick._engine = model.quick.engine()
        monkeypatch.setattr(quick, "_kept_in", lambda: file)
        assert quick.verdict() == GOOD
    assert len(said) == len(calls) == 1
