"""A judge beside the metric, over a real endpoint: asked about people's own answers first, and never deciding."""

from __future__ import annotations

import json
import random
import re

import pytest
from fault_server import Fault, FaultServer, Seen, answer, to_probe
from studies import report_of, whichway

from whichway.core.task import Example, Prediction
from whichway.study.judging import _worse

FOODS = {"thai": "serves thai curry", "greek": "grills greek lamb", "french": "bakes french bread"}
NAMES = ["Fig", "Oak", "Elm", "Ash", "Yew", "Bay"]


def write_task(folder, server: FaultServer) -> None:
    rng = random.Random(5)
    rows = []
    for at in range(170):
        name, food = rng.choice(NAMES), rng.choice(sorted(FOODS))
        said = f"{name} {FOODS[food]} at number {at}."
        rows.append({"id": f"r{at}", "name": name, "food": food, "number": f"{at}", "output": said})
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    (folder / "task.yaml").write_text(
        "task: places\ninstruction: Describe the place.\ndata: rows.jsonl\ninputs: [name, food, number]\ntarget: output\n"
        "output: {shape: text}\nmetric: chrf\nfurther: [rouge_l, {name: slot_coverage, fields: [food]}]\n"
        "judge: {model: referee, rows: 12}\n"
        f"models: {{endpoints: {{referee: {{base_url: '{server.base_url}', model: small, price: {{input: 1, output: 1}}}}}}}}\n"
        "strategies: {only: [majority, extractive]}\nbudget: {minutes: 3, usd: 1}\n"
    )


def honest(seen: Seen) -> Fault:
    """Prefer the answer that names the row's number; grade 5 or 1 by the same."""
    said = seen.body["messages"][-1]["content"]
    if probe := to_probe(seen):
        return probe
    number = re.search(r"number: (\d+)", said)[1]
    answers = re.findall(r"Answer ?[12]?:\n(.*)", said)
    good = [bool(re.search(rf"number {number}\.", one)) for one in answers]
    if len(good) == 1:
        return Fault(body=answer(f"Seen.\nGrade: {5 if good[0] else 1}"))
    verdict = "tie" if good[0] == good[1] else "1" if good[0] else "2"
    return Fault(body=answer(f"Seen.\nVerdict: {verdict}"))


def stubborn(seen: Seen) -> Fault:
    """Always prefer what stands first."""
    return Fault(body=answer("Verdict: 1\nGrade: 4"))


@pytest.mark.parametrize(("judge", "agreement"), [(honest, 1.0), (stubborn, 0.0)])
def test_a_judge_is_told_with_its_agreement_and_decides_nothing(tmp_path, judge, agreement):
    with FaultServer(judge) as server:
        write_task(tmp_path, server)
        done = whichway("run", "task.yaml", "--out", "run", cwd=tmp_path)
        assert done.returncode in (0, 6), done.stderr
        sent = len(server.log)
        again = whichway("run", "task.yaml", "--out", "run", cwd=tmp_path)
        assert again.returncode == done.returncode and len(server.log) == sent, "nothing is paid for twice"
    report = report_of(tmp_path / "run")
    found = report["judge"]
    assert found["agreement"]["agreement"] == agreement and found["agreement"]["n"] == found["n"] == 12
    assert found["one_sided"] == (0.0 if judge is honest else 1.0)
    probed = 2
    assert sent == probed + 2 * 2 * 12 + 4 * 12, (
        "pairs of people's answers and of two finalists, both orders; four grades"
    )
    assert report["recommendation"]["strategy"] == "extractive"
    if judge is honest:
        assert (
            found["grades"]["people's own answers"]["grade"] == 5
            and found["grades"]["another row's answer"]["grade"] == 1
        )
        assert found["grades"]["majority"]["grade"] == 1
    page = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "These decide nothing" in page and ("do not rely" in page) == (judge is stubborn)
    assert report["spent"]["usd"] > 0


def test_further_metrics_stand_beside_the_score(tmp_path):
    with FaultServer(honest) as server:
        write_task(tmp_path, server)
        said = (tmp_path / "task.yaml").read_text()
        (tmp_path / "task.yaml").write_text(re.sub(r"judge: .*\n", "", said))
        assert whichway("run", "task.yaml", "--out", "run", cwd=tmp_path).returncode in (0, 6)
        assert not server.log
        other = re.sub(r"judge: .*\n", "", said).replace("further: [rouge_l, ", "further: [token_f1, ")
        (tmp_path / "task.yaml").write_text(other)
        assert whichway("run", "task.yaml", "--out", "run", cwd=tmp_path).returncode in (0, 6)  # the same study
    report = report_of(tmp_path / "run")
    trial = next(one for one in report["trials"] if one["strategy"] == "extractive")
    assert set(trial["further"]) == {"token_f1", "slot_coverage"} and report["judge"] is None
    assert 0 < trial["further"]["token_f1"]["test"]["value"] < 1
    assert trial["further"]["slot_coverage"]["test"]["n"] == trial["test"]["n"]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "What else was measured" in page and "slot coverage" in page


@pytest.mark.parametrize("wrong", ["constraints: {privacy: local}\n", "no key"])
def test_a_judge_that_may_not_be_called_costs_the_study_nothing_but_its_words(tmp_path, wrong):
    """What the other ways have bought by then must not be lost with the report."""
    with FaultServer(honest) as server:
        write_task(tmp_path, server)
        said = (tmp_path / "task.yaml").read_text()
        keyed = said.replace("model: small,", "model: small, key_env: WHICHWAY_NO_SUCH_KEY,")
        said = keyed if wrong == "no key" else said + wrong
        (tmp_path / "task.yaml").write_text(said)
        done = whichway("run", "task.yaml", "--out", "run", cwd=tmp_path)
        assert done.returncode in (0, 6), done.stderr
        assert not server.log
    report = report_of(tmp_path / "run")
    assert {one["state"] for one in report["trials"]} == {"done"} and report["judge"] is None
    assert "Judge: referee was not asked" in (tmp_path / "run" / "report.md").read_text()


def test_what_people_rejected_is_what_a_judge_must_not_prefer():
    rows = [Example("a", {}, "good", rejected=("bad",)), Example("b", {}, "fine"), Example("c", {}, "fine")]
    own = [Prediction(row.target, 1.0) for row in rows]
    assert [_worse(row, i, own).value for i, row in enumerate(rows)] == ["bad", "good", "good"]
