"""What an endpoint is asked, in which order it answers, and what is kept; against a real server on loopback."""

from __future__ import annotations

import base64
import logging
import signal
import threading
import time
from pathlib import Path

import pytest
from endpoint_play import KEY, Play, ask, echo, model_at, one, rows, spelled, states
from fault_server import Fault, answer, refusal

from whichway.core.model import Model
from whichway.errors import ProviderError, UsageError
from whichway.models.endpoint import EndpointModel
from whichway.registry import get
from whichway.study.ledger import Ledger


def test_replies_come_in_the_order_of_the_requests_whichever_arrives_first(play: Play, ledger: Ledger) -> None:
    server = play(lambda seen: Fault(body=echo(seen).body, delay_s=0.05 * (3 - seen.number % 4)))
    model = model_at(server, ledger)
    assert isinstance(model, Model) and model.is_local is False and model.name == "mine"
    assert get("model", "endpoint") is EndpointModel
    replies = model.generate([ask(f"row {i}") for i in range(9)])
    assert [reply.text for reply in replies] == [f"row {i}" for i in range(9)]
    assert {reply.finish for reply in replies} == {"stop"}
    assert 2 <= server.most_at_once <= 4
    assert server.log[0].path == "/v1/chat/completions"


def test_no_requests_make_no_call(play: Play, ledger: Ledger) -> None:
    server = play()
    assert model_at(server, ledger).generate([]) == []
    assert server.log == []


def test_a_call_costs_what_its_tokens_cost_and_cached_ones_less(play: Play, ledger: Ledger) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 600}}
    reply = one(play(Fault(body=answer(usage=usage))), ledger, ask("x" * 5000, max_tokens=200))
    assert reply.spend.usd == pytest.approx((400 * 1.0 + 600 * 0.5 + 100 * 2.0) / 1e6)
    assert (reply.spend.tokens_in, reply.spend.tokens_out, reply.spend.cached_tokens) == (1000, 100, 600)
    assert rows(ledger)[0][2] == pytest.approx(reply.spend.usd)


def test_the_same_request_is_asked_once_but_sampled_ones_each_time(play: Play, ledger: Ledger) -> None:
    server = play(echo)
    model = model_at(server, ledger)
    assert [reply.text for reply in model.generate([ask("a"), ask("b"), ask("a")])] == ["a", "b", "a"]
    assert len(server.log) == 2
    model.generate([ask("a", temperature=0.7)] * 3)
    assert len(server.log) == 5


def test_a_second_run_makes_no_call_and_needs_no_key(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = play(
        [Fault(), Fault(body=answer("", finish="content_filter")), Fault(status=400, body=refusal("too long"))]
    )
    requests = [ask("a"), ask("b"), ask("c")]
    monkeypatch.setenv("MY_KEY", KEY)
    first = Ledger(tmp_path / "run")
    before = model_at(server, first, key_env="MY_KEY", max_concurrency=1).generate(requests)
    first.close()
    monkeypatch.delenv("MY_KEY")
    again = Ledger(tmp_path / "run")
    after = model_at(server, again, key_env="MY_KEY").generate(requests)
    again.close()
    assert after == before and [reply.finish for reply in after] == ["stop", "failed", "failed"]
    assert len(server.log) == 3


def test_only_the_headers_we_chose_are_sent(play: Play, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "OPENAI_API_KEY": "sk-another-key-0123456789",
        "OPENAI_ORG_ID": "org-secret",
        "OPENAI_CUSTOM_HEADERS": "X-Mine: secret\nAuthorization: Bearer another",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    server = play()
    assert one(server, ledger, key_env="MY_KEY").finish == "stop"
    assert one(server, ledger, ask("other")).finish == "stop"
    expected = {"host", "content-type", "content-length", "accept", "accept-encoding", "user-agent"}
    assert set(server.log[0].headers) == expected | {"authorization"}
    assert server.log[0].headers["authorization"] == f"Bearer {KEY}"
    assert set(server.log[1].headers) == expected


def test_a_missing_key_is_named(play: Play, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    server = play()
    with pytest.raises(UsageError, match="MY_KEY"):
        one(server, ledger, key_env="MY_KEY")
    monkeypatch.setenv("MY_KEY", "sk-two\nlines-0123456789")
    with pytest.raises(UsageError, match="MY_KEY") as caught:
        one(server, ledger, key_env="MY_KEY")
    assert "0123456789" not in repr(caught.value) and server.log == []


def test_the_key_is_written_nowhere(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    coded = base64.b64encode(KEY.encode()).decode()
    said = f"Incorrect API key: {KEY}, Bearer {KEY}, {KEY[:14]}..., {coded}"
    body = answer(f"you sent {KEY}", model=f"small-{KEY}", logprobs=spelled((f"you sent {KEY}", -0.1)))
    script = [Fault(body=body), Fault(400, refusal(said)), Fault(500, refusal(said)), Fault(503, refusal(said))]
    server = play([*script, Fault(body={"error": {"message": said}}), Fault(401, refusal(said))])
    ledger = Ledger(tmp_path / "run")
    model = model_at(server, ledger, key_env="MY_KEY", max_concurrency=1)
    shown = [repr(model)]
    with caplog.at_level(logging.DEBUG):
        shown += [repr(model.generate([ask(text)])) for text in "abc"]
        with pytest.raises(ProviderError) as caught:
            model.generate([ask("d")])
    ledger.close()
    shown += [caught.value.problem, caught.value.fix, caplog.text, repr(vars(model)), repr(caught.value.__context__)]
    shown += [path.read_bytes().decode("latin-1") for path in (tmp_path / "run").iterdir()]
    assert "[key]" in "".join(shown) and len(server.log) == 6
    for secret in (KEY, KEY[:12], coded[:12]):
        assert not any(secret in text for text in shown)


def interrupt_after(seconds: float) -> None:
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(seconds, signal.pthread_kill, [main, signal.SIGINT]).start()


def test_an_interruption_starts_nothing_new_and_keeps_what_was_paid_for(play: Play, ledger: Ledger) -> None:
    server = play(lambda seen: Fault(delay_s=0.5 if seen.number else 0))
    interrupt_after(0.4)
    with pytest.raises(KeyboardInterrupt):
        model_at(server, ledger).generate([ask(str(i)) for i in range(20)])
    time.sleep(0.2)
    assert len(server.log) <= 5
    assert set(states(ledger)) == {("validation:call", "settled")}
    kept = [usd for *_, usd, result in rows(ledger) if "given_up" not in result]
    assert len(kept) == len(server.log), "what had been sent was waited for"
    assert sum(usd for *_, usd, _ in rows(ledger)) == sum(kept), "what had not been sent costs nothing"


def test_an_interruption_does_not_wait_for_an_endpoint_that_hangs(
    play: Play, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whichway.models.endpoint.GRACE_S", 0.3)
    server = play(Fault(delay_s=30))
    interrupt_after(0.3)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        one(server, ledger, timeout_s=30.0)
    assert time.monotonic() - began < 2
    assert states(ledger) == [("validation:call", "lost")]
