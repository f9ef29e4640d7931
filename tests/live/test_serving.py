"""`whichway serve`: a run behind an OpenAI-compatible server, asked by OpenAI's own client; jobs that survive a kill."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from kept import finish, lay_solution, trial
from studies import command, environment, whichway

BASE = "smollm2-135m-instruct"
COLOURS = {"grass": "green", "sky": "blue", "blood": "red", "snow": "white"}


HELLO = {"messages": [{"role": "user", "content": "x"}]}


def laid(folder: Path) -> Path:
    """Return a run folder with two solutions."""
    lay_solution(folder / "run", "majority", "fold-0", "a")
    lay_solution(folder / "run", "other", "fold-0", "b")
    finish(folder / "run", [trial("majority"), trial("other")], "majority")
    return folder / "run"


class Serving:
    """A server in a process of its own."""

    def __init__(self, run: Path, *more: str, **env: str) -> None:
        words = command("serve", run, "--port", "0", *more)
        self.process = subprocess.Popen(words, env=environment(**env), stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"(http://\S+)/v1", line)
        assert found, line
        self.url = found[1]

    def client(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url + "/v1", api_key=key, max_retries=0, timeout=60)

    def end(self, how: int = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    server = Serving(laid(tmp_path_factory.mktemp("served")))
    yield server
    server.end()


def test_answers_less_sure_than_the_wanted_coverage_allows_are_marked_as_withheld(tmp_path: Path) -> None:
    lay_solution(tmp_path, "majority", "fold-0", "a")  # says everything with a confidence of .5
    lay_solution(tmp_path, "other", "fold-0", "b")
    promises = [{"coverage": 0.9, "threshold": 0.51}, {"coverage": 0.8, "threshold": 0.4}]
    finish(tmp_path, [trial("majority"), trial("other")], "majority", abstention={"majority": {"promises": promises}})
    said = {"messages": [{"role": "user", "content": "x"}]}
    for wanted, withheld in ((("--coverage", "0.9"), {"withheld": True}), (("--min-confidence", "0.5"), {})):
        server = Serving(tmp_path, *wanted)
        try:
            sure = {"confidence": 0.5, "sources": []}
            status, row = ask(server.url + "/predict", {"rows": ["x"]})
            assert status == 200 and row["rows"] == [{"id": "0", "output": "a", "confidence": 0.5, **withheld}]
            assert ask(server.url + "/v1/chat/completions", said)[1]["whichway"] == sure | withheld
            chunks = list(server.client().chat.completions.create(model="whichway", stream=True, **said))
            assert chunks[-1].model_extra["whichway"] == sure | withheld
            status, error = ask(server.url + "/predict", {"rows": ["x"], "strategy": "other"})
            assert (status == 400 and "no threshold" in error["error"]["message"]) is bool(withheld)
        finally:
            server.end()


def test_another_solution_than_the_winner_is_served_by_its_name(tmp_path: Path) -> None:
    server = Serving(laid(tmp_path), "--strategy", "other")
    try:
        asked: Any = [{"role": "user", "content": "where is my parcel"}]
        said = [
            server.client().chat.completions.create(model=name, messages=asked) for name in ("whichway", "majority")
        ]
        assert [one.choices[0].message.content for one in said] == ["b", "a"]
        assert ask(server.url + "/predict", {"rows": ["x"]})[1]["strategy"] == "other"
    finally:
        server.end()
    wrong = whichway("serve", laid(tmp_path / "b"), "--port", "0", "--strategy", "nobody")
    assert wrong.returncode == 2 and "nobody" in wrong.stderr and "other" in wrong.stderr


def test_a_coverage_that_the_study_chose_nothing_for_is_refused_before_serving(tmp_path: Path) -> None:
    found = whichway("serve", laid(tmp_path), "--port", "0", "--coverage", "0.9")
    assert found.returncode == 2 and "no threshold" in found.stderr and "--min-confidence" in found.stderr


def ask(url: str, body: Any, **headers: str) -> tuple[int, Any]:
    """Return (status, JSON) of a plain request."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_official_client_is_answered_by_the_winner_and_by_any_solution(served: Serving) -> None:
    client = served.client()
    assert {one.id for one in client.models.list()} == {"majority", "whichway", "other"}
    assert client.models.retrieve("other").owned_by == "whichway"
    asked: Any = [{"role": "system", "content": "ignored"}, {"role": "user", "content": "where is my parcel"}]
    said = [client.chat.completions.create(model=name, messages=asked) for name in ("majority", "whichway", "other")]
    assert [one.choices[0].message.content for one in said] == ["a", "a", "b"]
    assert said[0].choices[0].finish_reason == "stop" and said[0].usage.prompt_tokens > 0
    with pytest.raises(openai.NotFoundError, match="There are: majority"):
        client.chat.completions.create(model="nobody", messages=asked)


def test_an_answer_is_streamed(served: Serving) -> None:
    stream = served.client().chat.completions.create(
        model="majority",
        messages=[{"role": "user", "content": "x"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == "a"
    assert chunks[-2].choices[0].finish_reason == "stop" and chunks[-1].usage.completion_tokens >= 1


def test_rows_are_answered_as_predict_answers_them(served: Serving) -> None:
    status, said = ask(served.url + "/predict", {"rows": [{"id": "r1", "text": "x"}, {"input": "y"}, "z"]})
    assert status == 200 and said["strategy"] == "majority"
    assert [(one["id"], one["output"], one["confidence"]) for one in said["rows"]] == [
        ("r1", "a", 0.5),
        ("1", "a", 0.5),
        ("2", "a", 0.5),
    ]
    assert ask(served.url + "/predict", {"rows": [{"text": "x"}], "strategy": "other"})[1]["rows"][0]["output"] == "b"


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/predict", b"{", 400, "not JSON"),
        ("/predict", [1], 400, "JSON object"),
        ("/predict", {"rows": []}, 400, "1 to 1000"),
        ("/predict", {"rows": [{"wrong": 1}]}, 400, "rows[0]: The field 'text' is missing"),
        ("/predict", {"rows": [{"text": [1]}]}, 400, "no text, number"),
        ("/predict", {"rows": ["x"], "strategy": "nobody"}, 404, "no strategy"),
        ("/v1/chat/completions", {"model": "majority"}, 400, "messages"),
        ("/v1/chat/completions", {"messages": [{"role": "tool", "content": "x"}]}, 400, "role"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "only text",
        ),
        ("/v1/chat/completions", {**HELLO, "stream": True, "stream_options": "x"}, 400, "stream_options"),
        ("/v1/files", {}, 404, "There is no POST /v1/files"),
    ],
)
def test_what_cannot_be_served_is_told_in_the_form_clients_read(
    served: Serving, path: str, body: Any, status: int, says: str
) -> None:
    got, said = ask(served.url + path, body)
    assert got == status and says in said["error"]["message"]


def test_a_web_page_under_another_name_is_not_answered(served: Serving) -> None:
    status, said = ask(served.url + "/predict", {"rows": ["x"]}, host="evil.example")
    assert status == 403 and "this machine alone" in said["error"]["message"]


def test_a_key_is_asked_of_everyone_where_one_is_set(tmp_path: Path) -> None:
    server = Serving(laid(tmp_path), "--key-env", "MY_KEY", MY_KEY="s3cret-key-value")
    try:
        with pytest.raises(openai.AuthenticationError):
            server.client("wrong").models.list()
        assert len(list(server.client("s3cret-key-value").models.list())) == 3
    finally:
        server.end()


def test_serving_to_other_machines_needs_a_key(tmp_path: Path) -> None:
    done = whichway("serve", laid(tmp_path), "--host", "0.0.0.0")
    assert done.returncode == 2 and "needs a key" in done.stderr and "--key-env" in done.stderr
    unset = whichway("serve", laid(tmp_path / "b"), "--key-env", "NOT_THERE")
    assert unset.returncode == 2 and "NOT_THERE is not set" in unset.stderr


def test_a_port_that_is_taken_is_said_so(served: Serving, tmp_path: Path) -> None:
    done = whichway("serve", laid(tmp_path), "--port", served.url.rsplit(":", 1)[1])
    assert done.returncode == 2 and "cannot be listened on" in done.stderr


def chats(folder: Path, count: int = 24) -> Path:
    """Write rows to learn from: the colour of a thing."""
    path, things = folder / "rows.jsonl", list(COLOURS)
    lines = []
    for i in range(count):
        thing = things[i % 4]
        said = [{"role": "user", "content": f"Colour of {thing}, please ({i})"}]
        lines.append(json.dumps({"messages": [*said, {"role": "assistant", "content": COLOURS[thing]}]}))
    path.write_text("\n".join(lines) + "\n")
    return path


def waited(client: openai.OpenAI, job: str, until: tuple[str, ...], most_s: float = 240) -> Any:
    end = time.monotonic() + most_s
    while time.monotonic() < end:
        found = client.fine_tuning.jobs.retrieve(job)
        if found.status in until:
            return found
        time.sleep(0.3)
    raise AssertionError(f"{found.status} after {most_s} s: {client.fine_tuning.jobs.list_events(job).data}")


@pytest.mark.slow
def test_the_official_client_fine_tunes_here_from_file_to_answer(tmp_path: Path) -> None:
    run = laid(tmp_path)
    server = Serving(run, "--training")
    try:
        client = server.client()
        rows = chats(tmp_path)
        file = client.files.create(file=rows, purpose="fine-tune")
        assert client.files.retrieve(file.id).filename == "rows.jsonl"
        assert client.files.content(file.id).text == rows.read_text() and [one.id for one in client.files.list()] == [
            file.id
        ]
        method: Any = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 6, "batch_size": 8}}}
        job = client.fine_tuning.jobs.create(
            model=BASE,
            training_file=file.id,
            validation_file=file.id,
            method=method,
            suffix="colours",
            metadata={"a": "b"},
        )
        assert job.status == "queued" and job.metadata == {"a": "b"}
        waited(client, job.id, ("running", "succeeded"))
        with pytest.raises(openai.ConflictError):
            client.files.delete(file.id)
        done = waited(client, job.id, ("succeeded", "failed"))
        events = [one.message for one in client.fine_tuning.jobs.list_events(job.id, limit=50)]
        assert done.status == "succeeded", events
        assert done.trained_tokens > 0 and done.fine_tuned_model.startswith(f"ft:{BASE}:colours:")
        assert events[-1] == "Created and queued." and any(one.startswith("Step ") for one in events)
        (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(job.id)
        assert (
            checkpoint.fine_tuned_model_checkpoint == done.fine_tuned_model and checkpoint.metrics.full_valid_loss < 1
        )
        asked: Any = [{"role": "user", "content": "Colour of blood, please (3)"}]
        said = [
            client.chat.completions.create(model=name, messages=asked, temperature=0, max_tokens=8)
            .choices[0]
            .message.content
            for name in (done.fine_tuned_model, BASE)
        ]
        assert said[0] == "red" and said[1] != "red"
        stream = client.chat.completions.create(
            model=done.fine_tuned_model, messages=asked, temperature=0, max_tokens=8, stream=True
        )
        assert "".join(one.choices[0].delta.content or "" for one in stream) == "red"
        client.files.delete(file.id)
        assert not list(client.files.list())
    finally:
        server.end()


def test_the_words_of_a_language_model_are_streamed_while_it_writes(tmp_path: Path) -> None:
    server = Serving(laid(tmp_path), "--training")
    try:
        client = server.client()
        asked: Any = {"model": BASE, "messages": [{"role": "user", "content": "Tell a long story of a red kite."}]}
        asked |= {"temperature": 0, "max_tokens": 64}
        whole = client.chat.completions.create(**asked)  # the model is loaded with it
        began, came, chunks = time.monotonic(), [], []
        for chunk in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
            chunks.append(chunk)
            if chunk.choices and chunk.choices[0].delta.content:
                came.append(time.monotonic() - began)
        text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
        assert text == whole.choices[0].message.content and len(came) > 10
        assert came[0] < came[-1] / 2, "the first word is read long before the last one is written"
        assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
        assert chunks[-1].usage == whole.usage
        with client.chat.completions.create(**{**asked, "max_tokens": 2048}, stream=True) as stream:
            next(iter(stream))  # who hangs up does not keep others waiting
        began = time.monotonic()
        client.chat.completions.create(**{**asked, "max_tokens": 1})
        most = 2048 * came[-1] / len(came)  # seconds that the whole answer would have taken
        assert time.monotonic() - began < max(10, most / 4)
        with pytest.raises(openai.BadRequestError, match="max_tokens"):
            client.chat.completions.create(**{**asked, "max_tokens": 0}, stream=True)
    finally:
        server.end()


@pytest.mark.slow
def test_a_job_is_paused_resumed_and_cancelled_and_outlives_a_kill_of_the_server(tmp_path: Path) -> None:
    run = laid(tmp_path)
    server = Serving(run, "--training")
    client = server.client()
    file = client.files.create(file=chats(tmp_path, 48), purpose="fine-tune").id
    long: Any = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 10, "batch_size": 4}}}
    job = client.fine_tuning.jobs.create(model=BASE, training_file=file, method=long).id
    second = client.fine_tuning.jobs.create(model=BASE, training_file=file, method=long).id
    waited(client, job, ("running",))
    assert client.fine_tuning.jobs.retrieve(second).status == "queued"  # one at a time
    assert client.fine_tuning.jobs.cancel(second).status == "cancelled"
    assert client.fine_tuning.jobs.pause(job).status == "paused"
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        client.fine_tuning.jobs.resume(second)
    assert client.fine_tuning.jobs.resume(job).status == "queued"
    waited(client, job, ("running",))
    server.end(signal.SIGKILL)
    server = Serving(run, "--training")
    try:
        done = waited(server.client(), job, ("succeeded", "failed"))
        assert done.status == "succeeded" and done.fine_tuned_model in {one.id for one in server.client().models.list()}
    finally:
        assert server.end() in (0, 130)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": "x"},
        {"seed": 1.5},
        {"stop": 5},
        {"stop": [1]},
        {"response_format": "json"},
        {"response_format": {"json_schema": "x"}},
        {"response_format": {"json_schema": {"schema": "x"}}},
        {"max_tokens": True},
        {"max_tokens": 0},
        {"temperature": "hot"},
    ],
)
def test_what_a_language_model_cannot_be_asked_is_refused_and_a_batch_goes_on(wrong: dict[str, Any]) -> None:
    from types import SimpleNamespace

    from whichway.core.model import Reply
    from whichway.live.serving.chat import complete_all

    desk: Any = SimpleNamespace(
        names=lambda: ["m"],
        main=SimpleNamespace(name="m"),
        solution=lambda _: None,
        write=lambda _, some: [Reply("fine") for _ in some],
        count=len,
    )
    good = {"model": "m", "messages": [{"role": "user", "content": "x"}], "seed": None, "stop": None}
    (first, second) = complete_all(desk, [{**good, **wrong}, good])
    (name,) = wrong
    assert first[0] == 400 and (name in first[1]["error"]["message"] or "schema" in first[1]["error"]["message"])
    assert second[0] == 200 and second[1]["choices"][0]["message"]["content"] == "fine"


def test_several_fields_are_read_from_one_message() -> None:
    from kept import make_task

    from whichway.core.task import Field
    from whichway.errors import UsageError
    from whichway.live.serving.models import inputs_from

    task = make_task()
    task = type(task)(**{**task.__dict__, "fields": (Field("subject"), Field("amount", "number"))})
    wanted = {"subject": "late: again", "amount": 3}
    assert inputs_from(task, json.dumps(wanted)) == wanted
    assert inputs_from(task, {"input": wanted}) == wanted
    assert inputs_from(task, "subject: late: again\nby days\namount: 3") == {
        "subject": "late: again\nby days",
        "amount": "3",
    }
    with pytest.raises(UsageError, match="amount"):
        inputs_from(task, "subject: x")
