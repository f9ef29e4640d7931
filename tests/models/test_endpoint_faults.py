"""An endpoint that is busy, broken, slow or talks nonsense."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import time
import tracemalloc
from email.utils import formatdate
from types import SimpleNamespace

import pytest
from endpoint_play import HASTE, Play, ask, echo, model_at, one, rows, states
from fault_server import Fault, Seen, answer, refusal

from whichway.core.model import Request
from whichway.errors import ProviderError
from whichway.models.endpoint import EndpointModel
from whichway.models.endpoint_patience import Patience, Throttle
from whichway.study.kit import TrialMeter
from whichway.study.ledger import Ledger


def test_a_busy_endpoint_is_asked_again_when_it_says_so(play: Play, ledger: Ledger) -> None:
    server = play([Fault(429, headers={"Retry-After": "0.15"}), Fault(503), Fault(529), Fault()])
    assert one(server, ledger).finish == "stop"
    assert server.log[1].at_s - server.log[0].at_s >= 0.15
    assert states(ledger) == [("validation:call", "settled")] + [("validation:rejected", "settled")] * 3
    assert sum(usd for *_, usd, _ in rows(ledger)) == pytest.approx(14e-6)


TOMORROW = formatdate(time.time() + 86400, usegmt=True)


@pytest.mark.parametrize("said", ["1e9", "9" * 400, "inf", TOMORROW], ids=["large", "long", "infinite", "tomorrow"])
def test_an_absurd_retry_after_is_capped(said: str) -> None:
    assert HASTE.wait_s(1, said, "seed") == HASTE.cap_s
    assert Patience().wait_s(1, said, "seed") == 60


@pytest.mark.parametrize("said", ["", "-5", "nan", "soon", "0", formatdate(0, usegmt=True), "Mon, 99 Foo"])
def test_a_useless_retry_after_means_backoff_with_jitter(said: str) -> None:
    waits = [Patience().wait_s(turn, said, "seed") for turn in range(1, 5)]
    assert waits == [Patience().wait_s(turn, said, "seed") for turn in range(1, 5)]
    assert all(0 <= wait <= 0.5 * 2**i for i, wait in enumerate(waits))
    assert len({Patience().wait_s(1, said, str(seed)) for seed in range(9)}) == 9


def test_a_retry_after_date_is_waited_for() -> None:
    assert 8 < Patience().wait_s(1, formatdate(time.time() + 10, usegmt=True), "seed") <= 11


def test_an_attempt_with_unknown_outcome_stays_charged(play: Play, ledger: Ledger) -> None:
    whole = len(json.dumps(answer()))
    server = play([Fault(500), Fault(reset=True), Fault(cut=whole // 2), Fault()])
    assert one(server, ledger).finish == "stop"
    assert [state for _, state in states(ledger)] == ["lost", "lost", "lost", "settled"]
    assert rows(ledger)[0][2] > rows(ledger)[3][2] > 0


def test_after_five_attempts_the_call_is_given_up_and_asked_again_another_day(play: Play, ledger: Ledger) -> None:
    server = play([Fault(503)] * 5 + [Fault()])
    reply = one(server, ledger)
    assert reply.finish == "failed" and "503" in reply.problem and len(server.log) == 5
    assert one(server, ledger).finish == "stop"
    assert one(server, ledger).finish == "stop" and len(server.log) == 6


def test_an_endpoint_that_is_not_there_costs_nothing(play: Play, ledger: Ledger) -> None:
    server = play()
    server.__exit__()
    reply = one(server, ledger)
    assert reply.finish == "failed" and "refused" in reply.problem.lower()
    assert ledger.recall("x") is None and sum(usd for *_, usd, _ in rows(ledger)) == 0


@pytest.mark.parametrize("status", [401, 402, 403, 404, 302])
def test_a_wrong_key_or_address_stops_the_run_at_the_first_call(play: Play, ledger: Ledger, status: int) -> None:
    server = play(Fault(status, refusal("no such thing"), {"Location": "http://127.0.0.1:1/"}))
    with pytest.raises(ProviderError) as caught:
        model_at(server, ledger).generate([ask(str(i)) for i in range(9)])
    assert str(status) in caught.value.problem and "no such thing" in caught.value.problem and caught.value.fix
    assert len(server.log) == 1


def test_a_key_that_is_withdrawn_half_way_stops_all_workers(play: Play, ledger: Ledger) -> None:
    server = play(lambda seen: Fault(401) if seen.number > 3 else Fault())
    with pytest.raises(ProviderError):
        model_at(server, ledger).generate([ask(str(i)) for i in range(60)])
    assert len(server.log) <= 8 and len(rows(ledger)) <= 12


def test_an_endpoint_behind_https_that_speaks_http_costs_nothing(play: Play, ledger: Ledger) -> None:
    server = play()
    url = server.base_url.replace("http:", "https:")
    assert model_at(url, ledger, timeout_s=0.3).generate([ask()])[0].finish == "failed"
    assert sum(usd for *_, usd, _ in rows(ledger)) == 0


def test_an_account_without_credit_is_not_asked_again(play: Play, ledger: Ledger) -> None:
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    server = play(Fault(429, body))
    with pytest.raises(ProviderError, match="quota"):
        one(server, ledger)
    assert len(server.log) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_bad_request_fails_alone_and_is_not_repeated(play: Play, ledger: Ledger, status: int) -> None:
    long = "maximum context length is 4096 tokens"
    server = play(lambda seen: Fault(status, refusal(long)) if "b" in seen.body["messages"][1]["content"] else Fault())
    replies = model_at(server, ledger).generate([ask("a"), ask("b"), ask("c")])
    assert [reply.finish for reply in replies] == ["stop", "failed", "stop"]
    assert long in replies[1].problem and replies[1].spend.usd == 0 and len(server.log) == 3


BAD_BODIES = {
    "not json": b"{'a': 1}",
    "truncated": json.dumps(answer()).encode()[:-20],
    "html": b"<!DOCTYPE html><html><body>busy</body></html>",
    "empty": b"",
    "a list": [1],
    "no choices": {"id": 1},
    "empty choices": {"choices": []},
    "choices of text": {"choices": ["spam"]},
    "no message": {"choices": [{"finish_reason": "stop"}]},
    "an error": {"error": {"message": "overloaded"}},
    "deep": b"[" * 100_000,
    "huge number": b'{"choices": ' + b"9" * 5000 + b"}",
    "null": b"null",
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_response_fails_alone_and_is_charged_at_the_bound(play: Play, ledger: Ledger, name: str) -> None:
    server = play([Fault(), Fault(body=BAD_BODIES[name]), Fault()])
    replies = model_at(server, ledger, max_concurrency=1).generate([ask("a"), ask("b"), ask("c")])
    assert [reply.finish for reply in replies] == ["stop", "failed", "stop"]
    assert replies[1].problem.startswith("bad response") and "\n" not in replies[1].problem
    assert replies[1].spend.usd > 100 * replies[0].spend.usd / 14
    assert len(server.log) == 3


def test_odd_characters_survive_both_ways(play: Play, ledger: Ledger) -> None:
    raw = json.dumps(answer("sp\ud800am\x00")).encode()
    server = play(Fault(body=raw))
    assert one(server, ledger, ask("lone \ud800 one")).text == "sp?am\x00"
    assert server.log[0].body["messages"][1]["content"] == "lone ? one"


def test_a_hanging_endpoint_is_left_at_the_deadline(play: Play, ledger: Ledger) -> None:
    for fault in (Fault(delay_s=20), Fault(drip_s=0.2)):
        server = play(fault)
        began = time.monotonic()
        reply = one(server, ledger, ask(str(fault.delay_s)), timeout_s=0.5)
        assert 0.4 < time.monotonic() - began < 1.5
        assert reply.finish == "failed" and "time" in reply.problem and len(server.log) == 1
    assert [state for _, state in states(ledger)] == ["lost", "lost"]


def test_retries_share_one_deadline(play: Play, ledger: Ledger) -> None:
    server = play(Fault(500, delay_s=0.3))
    began = time.monotonic()
    assert one(server, ledger, timeout_s=0.7).finish == "failed"
    assert time.monotonic() - began < 1.7 and len(server.log) == 3


def test_a_body_beyond_the_limit_is_cut_off(play: Play, ledger: Ledger) -> None:
    bomb = gzip.compress(b" " * (96 * 2**20), 1)
    server = play([Fault(body=b" " * (17 * 2**20)), Fault(body=bomb, headers={"Content-Encoding": "gzip"})])
    tracemalloc.start()
    replies = model_at(server, ledger, max_concurrency=1).generate([ask("a"), ask("b")])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20
    assert [reply.finish for reply in replies] == ["failed", "failed"]
    assert all("larger than" in reply.problem for reply in replies)


def test_a_compressed_answer_is_read_though_it_was_not_asked_for(play: Play, ledger: Ledger) -> None:
    packed = gzip.compress(json.dumps(answer("ham")).encode())
    assert one(play(Fault(body=packed, headers={"Content-Encoding": "gzip"})), ledger).text == "ham"


def test_ten_failures_in_a_row_open_the_circuit(play: Play, ledger: Ledger) -> None:
    server = play(Fault(503, refusal("down for repair")))
    with pytest.raises(ProviderError, match="down for repair"):
        model_at(server, ledger, max_concurrency=2).generate([ask(str(i)) for i in range(40)])
    assert 45 <= len(server.log) <= 60, "ten calls of five attempts, and what two others had tried meanwhile"


def test_failed_attempts_over_some_time_open_the_circuit_sooner(play: Play, ledger: Ledger) -> None:
    server = play(Fault(500))
    with pytest.raises(ProviderError):
        model_at(server, ledger, Patience(base_s=0.01, open_after_s=0.0)).generate([ask(str(i)) for i in range(40)])
    assert 10 <= len(server.log) <= 14


def test_a_success_between_failures_keeps_the_circuit_closed(play: Play, ledger: Ledger) -> None:
    server = play(lambda seen: Fault() if seen.number % 3 == 2 else Fault(500))
    model = model_at(server, ledger, Patience(base_s=0.01, open_after_s=0.0), max_concurrency=1)
    assert {reply.finish for reply in model.generate([ask(str(i)) for i in range(12)])} == {"stop"}


def test_an_endpoint_that_takes_few_calls_at_once_is_asked_that_few(play: Play, ledger: Ledger) -> None:
    lock, under_way, refused = threading.Lock(), [0], []

    def script(seen: Seen) -> Fault:
        with lock:
            busy = under_way[0] >= 3
            refused.append(busy)
            under_way[0] += not busy
        if busy:
            return Fault(429, headers={"retry-after": "0.01"})
        time.sleep(0.03)
        with lock:
            under_way[0] -= 1
        return Fault(body=answer("a"))

    model = model_at(play(script), ledger, Patience(attempts=30, base_s=0.01, cap_s=0.05), max_concurrency=16)
    replies = model.generate([ask(f"row {i}") for i in range(120)])
    assert {one.finish for one in replies} == {"stop"}
    assert model._caller is not None and model._caller.throttle.limit < 10
    half = len(refused) // 2
    assert sum(refused[half:]) <= sum(refused[:half])


def test_the_limit_halves_once_per_burst_and_grows_with_answers() -> None:
    throttle = Throttle(16, pause_s=60)
    for _ in range(5):
        throttle.refused()
    assert throttle.limit == 8
    for _ in range(36):
        throttle.answered()
    assert 8 < throttle.limit < 10
    for _ in range(2000):
        throttle.answered()
    assert throttle.limit == 16
    one = Throttle(2, pause_s=0)
    for _ in range(5):
        one.refused()
    assert one.limit == 1  # never none


def test_what_begins_alike_goes_out_together(play: Play, ledger: Ledger) -> None:
    server = play(echo)
    model = model_at(server, ledger, max_concurrency=1)
    heads = ["first", "second"]
    asked = [Request((("system", heads[i % 2]), ("user", f"row {i}"))) for i in range(12)]
    assert [one.text for one in model.generate(asked)] == [f"row {i}" for i in range(12)]
    sent = [one.body["messages"][0]["content"] for one in server.log]
    assert sent == sorted(sent)


@pytest.mark.parametrize("fault", [Fault(503), Fault(400)], ids=["5xx", "4xx"])
def test_only_answers_raise_how_much_is_asked_at_once(play: Play, ledger: Ledger, fault: Fault) -> None:
    model = model_at(play(fault), ledger, Patience(attempts=3, base_s=0.01, cap_s=0.02), max_concurrency=8)
    model.throttle.limit = 2.0
    with contextlib.suppress(ProviderError):
        model.generate([ask(f"row {i}") for i in range(4)])
    assert model.throttle.limit == 2.0
    good = model_at(play(Fault(body=answer("a"))), ledger, max_concurrency=8)
    good.throttle.limit = 2.0
    good.generate([ask("row")])
    assert good.throttle.limit > 2.0


def test_a_refused_connection_raises_nothing_and_a_tuned_model_shares_the_limit(ledger: Ledger) -> None:
    settings = SimpleNamespace(base_url="http://127.0.0.1:9", model="m", key_env=None, timeout_s=1.0, max_concurrency=8)
    settings.price = SimpleNamespace(input=1.0, output=2.0, cached_input=None)
    model = EndpointModel("far", settings, TrialMeter(ledger), Patience(attempts=2, base_s=0.01, cap_s=0.02))
    model.throttle.limit = 2.0
    with contextlib.suppress(ProviderError):
        model.generate([ask("row")])
    assert model.throttle.limit == 2.0 and model.tuned("ft:m").throttle is model.throttle
