"""`predict` and `serve` over other documents than the run's: what changed is indexed, kept, and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kept import finish, trial
from test_serving import Serving, ask

from whichway.core.strategy import Kit
from whichway.core.task import Document, Example, Field, Task
from whichway.core.text import Text
from whichway.errors import UsageError
from whichway.live.answer import Asked, answer_file
from whichway.live.bundle import load_solution
from whichway.live.documents import over_documents
from whichway.registry import get
from whichway.strategies.parts.hashed import HashedWords

PLACES = ("mill", "dam", "harbour", "library", "museum", "chapel", "quarry", "market")
DOCUMENTS = tuple(Document(one, f"The {one}", f"The {one} opens at {9 + i} o'clock.") for i, one in enumerate(PLACES))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run whose winner finds its answers in documents, by words."""
    task = Task("t", "Answer.", (Field("q"),), Text(), get("metric", "token_f1")(), documents=DOCUMENTS)
    rows = [
        Example(f"{one.id}{n}", {"q": f"{ask} does the {one.id} open"}, one.text, gold_documents=(one.id,))
        for one in DOCUMENTS
        for n, ask in enumerate(("when", "at what hour", "how early"))
    ]
    home = tmp_path / "run" / "trials" / "extractive" / "fold-0"
    home.mkdir(parents=True)
    get("strategy", "extractive")().fit(task, rows, rows[:8], Kit({}, None, home)).save(home)
    finish(tmp_path / "run", [trial("extractive", "extractive")], "extractive", task)
    (tmp_path / "in.jsonl").write_text('{"id": "r", "q": "when does the pier open"}\n')
    return tmp_path / "run"


def write(run: Path, *documents: Document) -> Path:
    path = run.parent / "other.jsonl"
    path.write_text("".join(json.dumps({"id": d.id, "title": d.title, "text": d.text}) + "\n" for d in documents))
    return path


PIER = Document("pier", "The pier", "The pier opens at 6 o'clock.")
MOVED = Document("mill", "The mill", "The mill opens at 7 o'clock.")


def test_only_what_changed_is_embedded_and_it_is_told_what_that_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    plain = HashedWords.embed
    monkeypatch.setattr(HashedWords, "embed", lambda self, texts: (seen.extend(texts), plain(self, texts))[1])
    evidence = {one: one.read_bytes() for one in run.rglob("*") if one.is_file()}
    said: list[str] = []

    def over(*documents: Document) -> Any:
        seen.clear()
        _, solution, name = load_solution(run)
        return over_documents(solution, name, run, write(run, *documents), said.append)

    over(MOVED, *DOCUMENTS[2:], PIER)
    assert (
        said[-1] == f"extractive: 8 documents, 1 added, 1 changed, 1 dropped; indexed in {run / 'documents/extractive'}"
    )
    assert set(seen) == {MOVED.text, PIER.text}
    over(MOVED, *DOCUMENTS[2:], PIER)
    assert said[-1] == "extractive: 8 documents, none changed" and seen == [], "kept from the time before"
    back = over(*DOCUMENTS, PIER)
    assert "1 added, 1 changed, 0 dropped" in said[-1] and seen == [], "the run itself knows the rest"
    assert len(back.near.examples) == 24, "answers that hold again are given again"
    assert back.predict([{"q": "when does the pier open"}])[0].value == PIER.text
    assert evidence == {one: one.read_bytes() for one in evidence}
    new = {one for one in run.rglob("*") if one.is_file()} - set(evidence)
    assert {one.relative_to(run).parts[0] for one in new} == {"documents"}


def test_a_run_that_cannot_be_written_answers_all_the_same(run: Path) -> None:
    (run / "documents").write_text("in the way")
    said: list[str] = []
    asked = Asked(documents=write(run, *DOCUMENTS, PIER))
    _, rows = answer_file(run, run.parent / "in.jsonl", None, asked, tell=said.append)
    assert rows[0]["output"] == PIER.text and said == [
        "extractive: 9 documents, 1 added, 0 changed, 0 dropped; not kept"
    ]


def test_an_index_of_another_encoder_is_not_gone_on_with(run: Path) -> None:
    _, solution, name = load_solution(run)
    said: list[str] = []
    over_documents(solution, name, run, write(run, PIER), said.append)
    about = run / "documents" / "extractive" / "kept.json"
    about.write_text(about.read_text().replace('"embedded"', '"other"'))
    over_documents(solution, name, run, write(run, PIER), said.append)
    assert said[0].split(";")[0] == said[1].split(";")[0] == "extractive: 1 documents, 1 added, 0 changed, 8 dropped"


def test_a_server_answers_from_the_documents_it_is_given(run: Path) -> None:
    server = Serving(run, "--documents", str(write(run, *DOCUMENTS, PIER)))
    try:
        _, found = ask(server.url + "/predict", {"rows": ["when does the pier open"]})
        assert found["rows"][0]["output"] == PIER.text and found["rows"][0]["sources"] == ["pier"]
    finally:
        server.end()
    assert (run / "documents" / "extractive" / "kept.json").exists()


def test_a_way_that_looks_nothing_up_has_no_use_for_documents(run: Path) -> None:
    with pytest.raises(UsageError, match="looks nothing up"):
        over_documents(get("strategy", "majority")(), "majority", run, write(run, PIER), print)  # type: ignore[arg-type]
