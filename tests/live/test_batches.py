"""Batches of `whichway serve --training`: OpenAI's client, our own endpoint, and a server that is killed on the way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from test_serving import Serving, laid

from whichway.core.model import Request
from whichway.live.serving.batches import BLOCK, Batches, read_lines
from whichway.live.serving.files import Files
from whichway.live.serving.refusal import Refusal
from whichway.models.endpoint import EndpointModel
from whichway.study.kit import TrialMeter
from whichway.study.ledger import Ledger


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    server = Serving(laid(tmp_path_factory.mktemp("served")), "--training")
    yield server
    server.end()


def lines(count: int, model: str = "majority") -> bytes:
    bodies = [{"model": model, "messages": [{"role": "user", "content": f"row {i}"}]} for i in range(count)]
    said = [
        {"custom_id": f"r{i}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for i, body in enumerate(bodies)
    ]
    return "".join(json.dumps(one) + "\n" for one in said).encode()


def ended(look: Any, most_s: float = 20) -> Any:
    end = time.monotonic() + most_s
    while time.monotonic() < end:
        found = look()
        if found["status"] in ("completed", "failed", "cancelled"):
            return found
        time.sleep(0.02)
    raise AssertionError(found)


def test_the_official_client_has_a_file_of_requests_answered(serving: Serving):
    client = serving.client()
    content = lines(30) + lines(1, "nobody").replace(b"r0", b"bad")
    file = client.files.create(file=("rows.jsonl", content), purpose="batch")
    made = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
    )
    ended(lambda: client.batches.retrieve(made.id).model_dump())
    done = client.batches.retrieve(made.id)
    assert done.status == "completed" and done.metadata == {"a": "b"}
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (31, 30, 1)
    answers = [json.loads(one) for one in client.files.content(done.output_file_id).text.splitlines()]
    assert [one["custom_id"] for one in answers] == [f"r{i}" for i in range(30)]
    assert {one["response"]["body"]["choices"][0]["message"]["content"] for one in answers} == {"a"}
    (bad,) = [json.loads(one) for one in client.files.content(done.error_file_id).text.splitlines()]
    assert bad["custom_id"] == "bad" and bad["response"]["status_code"] == 404
    assert made.id in [one.id for one in client.batches.list(limit=100)]
    with pytest.raises(openai.BadRequestError, match="is completed"):
        client.batches.cancel(made.id)
    with pytest.raises(openai.NotFoundError, match="no batch"):
        client.batches.retrieve("batch_none")


def test_our_own_endpoint_asks_our_own_server_in_batches(serving: Serving, tmp_path: Path):
    price = SimpleNamespace(input=1.0, output=2.0, cached_input=None, batch_discount=0.5)
    settings = SimpleNamespace(
        base_url=serving.url + "/v1",
        model="majority",
        key_env=None,
        price=price,
        max_concurrency=2,
        timeout_s=20,
        batch=True,
    )
    ledger = Ledger(tmp_path / "run", usd_cap=1.0)
    model = EndpointModel("own", settings, TrialMeter(ledger), in_study=True)
    replies = model.generate([Request((("user", f"a row {i}"),), 8) for i in range(25)])
    assert [one.text for one in replies] == ["a"] * 25
    batched = [one for _, phase, _, one in ledger.spends() if phase == "fit:batched"]
    tokens = sum((one.tokens_in, one.tokens_out) == (0, 0) for one in batched)
    assert batched and not tokens
    whole = sum(one.tokens_in * 0.5e-6 + one.tokens_out * 1e-6 for one in batched)
    assert sum(one.usd for one in batched) == pytest.approx(whole), "at the discount, by the tokens that were used"
    ledger.close()


class Clerk:
    """Answers blocks; before the `stops`-th it waits until it is let go on, or, with `dies`, ends its server's thread."""

    def __init__(self, stops: int = 0, dies: bool = False) -> None:
        self.stops, self.dies, self.blocks = stops, dies, []
        self.reached, self.go_on = threading.Event(), threading.Event()

    def answer(self, bodies: Sequence[Mapping[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
        self.blocks.append(len(bodies))
        if len(self.blocks) == self.stops:
            self.reached.set()
            if self.dies:
                raise SystemExit  # ends a thread without a word
            self.go_on.wait(10)
        return [(200, {"said": body["messages"][0]["content"]}) for body in bodies]


def desk(folder: Path, clerk: Clerk) -> tuple[Files, Batches]:
    files = Files(folder / "files")
    return files, Batches(folder / "batches", files, clerk.answer)


def begun(files: Files, batches: Batches, count: int) -> str:
    file = files.add("rows.jsonl", "batch", lines(count))
    return str(batches.create({"input_file_id": file["id"], "endpoint": "/v1/chat/completions"})["id"])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_was_killed_answers_the_rest_alone(tmp_path: Path):
    first, second = Clerk(stops=2, dies=True), Clerk()
    files, batches = desk(tmp_path, first)
    id_ = begun(files, batches, 2 * BLOCK + 5)
    assert first.reached.wait(10)
    batches._thread.join()
    with (tmp_path / "batches" / f"{id_}.jsonl").open("a") as file:
        file.write('{"half a li')  # as a kill leaves it
    files, again = desk(tmp_path, second)
    done = ended(lambda: again.batch(id_))
    assert done["status"] == "completed" and done["request_counts"]["completed"] == 2 * BLOCK + 5
    assert second.blocks == [BLOCK, 5], "the first block lay on disk"
    said = [json.loads(one) for one in files.content(done["output_file_id"]).splitlines()]
    assert [one["custom_id"] for one in said] == [f"r{i}" for i in range(2 * BLOCK + 5)]
    again.close()


def test_a_batch_is_cancelled_after_the_block_under_way_and_its_file_is_in_use_until_then(tmp_path: Path):
    clerk = Clerk(stops=1)
    files, batches = desk(tmp_path, clerk)
    id_ = begun(files, batches, 3 * BLOCK)
    assert clerk.reached.wait(10)
    with pytest.raises(Refusal, match="not ended"):
        files.delete(batches.batch(id_)["input_file_id"])
    assert batches.cancel(id_)["status"] == "cancelling"
    clerk.go_on.set()
    done = ended(lambda: batches.batch(id_))
    assert done["status"] == "cancelled" and done["request_counts"]["completed"] == BLOCK
    files.delete(done["input_file_id"])
    batches.close()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not json\n", "Line 1 is no"),
        (lines(1).replace(b"completions", b"embeddings"), "Line 1 is no"),
        (lines(1) + lines(1), "Line 2: the custom_id 'r0' was there before"),
        (b"", "0 requests"),
    ],
)
def test_a_line_that_is_no_request_is_named(content: bytes, says: str):
    with pytest.raises(Refusal) as no:
        read_lines(content)
    assert says in no.value.message
