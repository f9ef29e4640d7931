"""Personal data: what is found, what is not, and that it is never repeated."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichway.core.task import Example
from whichway.intake.personal import find, holds_secret, summarise

FOUND = [
    ("mail jo.doe+x@mail.example.org now", "email", "jo.doe+x@mail.example.org"),
    ("pay with 4111 1111 1111 1111 please", "card", "4111 1111 1111 1111"),
    ("pay with 5500-0000-0000-0004", "card", "5500-0000-0000-0004"),
    ("to DE89 3704 0044 0532 0130 00 today", "iban", "DE89 3704 0044 0532 0130 00"),
    ("to GB29NWBK60161331926819", "iban", "GB29NWBK60161331926819"),
    ("from 192.168.1.77 at noon", "ip", "192.168.1.77"),
    ("from 2001:db8::8a2e:370:7334", "ip", "2001:db8::8a2e:370:7334"),
    ("call +49 151 23456789", "phone", "+49 151 23456789"),
    ("call (020) 7946 0958", "phone", "(020) 7946 0958"),
    ("call 555-867-5309", "phone", "555-867-5309"),
    ("key sk-abcdefghijklmnopqrstuv", "secret", "sk-abcdefghijklmnopqrstuv"),
    ("key AKIAIOSFODNN7EXAMPLE", "secret", "AKIAIOSFODNN7EXAMPLE"),
    ("key ghp_" + "a1B2" * 9, "secret", "ghp_" + "a1B2" * 9),
    ("-----BEGIN RSA PRIVATE KEY-----", "secret", "-----BEGIN RSA PRIVATE KEY-----"),
]
CLEAN = [
    "on 2024-01-02 at 10:30:15 I paid 1,234.56 EUR for order 4111111111111112",
    "version 1.2.3.4 and section 14.2.5.2 of the contract; see 127.0.0.1",
    "DE89 3704 0044 0532 0130 01 fails its check",
    "the ratio 16:9:4 and the time 12:30:45, a::b, std::vector",
    "room 1234567, invoice 2023/000123, 10000000 users",
    "mail @jo or a@b, sk-learn and sk-image are packages",
    "",
]


@pytest.mark.parametrize(("text", "kind", "value"), FOUND)
def test_personal_data_is_found_where_it_stands(text: str, kind: str, value: str) -> None:
    assert [(hit.kind, text[hit.start : hit.end]) for hit in find(text)] == [(kind, value)]


@pytest.mark.parametrize("text", CLEAN)
def test_what_only_resembles_personal_data_is_left_alone(text: str) -> None:
    assert find(text) == []


def test_the_summary_counts_and_never_repeats_a_value() -> None:
    rows = [Example(str(i), {"text": text}) for i, (text, _, _) in enumerate(FOUND)]
    (finding,) = summarise(rows)
    assert finding.code == "personal-data" and finding.severity == "warning"
    assert "4 keys or tokens" in finding.message and f"{len(rows)} of {len(rows)} rows" in finding.message
    assert not any(value in finding.message for _, _, value in FOUND)


def test_a_long_text_without_personal_data_takes_no_time() -> None:
    import time

    begun = time.monotonic()
    for text in ("1 " * 300_000, "a@" * 300_000, ":" * 600_000, "eyJ" * 200_000, "A1" * 300_000):
        find(text)
    assert time.monotonic() - begun < 8


@given(st.text(max_size=200))
def test_hits_lie_in_the_text_and_do_not_overlap(text: str) -> None:
    hits = find(text)
    assert all(0 <= hit.start < hit.end <= len(text) for hit in hits)
    assert all(one.end <= two.start for one, two in pairwise(hits))


def test_a_sentence_holds_no_secret() -> None:
    assert not holds_secret("Route the message to the desk that answers it, e.g. task-force-one-two-three.")
