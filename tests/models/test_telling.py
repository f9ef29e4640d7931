"""A text that is told while it is written: what is said is never taken back, and no string that ends it is said."""

from __future__ import annotations

import pytest

from whichway.core.model import Request
from whichway.models.causal import CausalModel
from whichway.models.telling import Telling, settled

ASKED = Request((("user", "Count from one to ten in words."),), 40)


@pytest.mark.parametrize(
    ("text", "ends", "stays"),
    [
        ("", (), ""),
        ("one two", (), "one"),
        ("one two ", (), "one two"),
        ("one two STOP three", ("STOP",), "one two"),
        ("one two ST", ("STOP",), "one two"),
        ("one two\n", ("\n\n",), "one"),
        ("caf\ufffd au", (), ""),
        ("un caf\ufffd", (), "un"),
    ],
)
def test_only_what_stays_is_said(text: str, ends: tuple[str, ...], stays: str) -> None:
    assert settled(text, ends) == stays


def test_the_pieces_make_up_the_text_whatever_the_tokens() -> None:
    said: list[str] = []
    text = "a caf\u00e9, na\u00efve and \U0001f642 END of it"
    letters = text.encode()
    telling = Telling(lambda some: bytes(some).decode(errors="replace"), ("END",), said.append)
    for count in range(1, len(letters) + 1):
        telling.hear(letters[:count])
    telling.end(text[: text.index("END")])
    assert "".join(said) == text[: text.index("END")] and len(said) > 4


def test_a_model_is_heard_while_it_writes_and_says_what_it_would_have_said() -> None:
    model, said, heard = CausalModel(), [], []
    whole = model.generate([ASKED])[0]
    reply = model.tell(ASKED, said.append)
    assert (reply.text, reply.finish) == (whole.text, whole.finish) and "".join(said) == whole.text and len(said) > 3
    assert not heard

    class Enough(Exception):
        pass

    def listen(piece: str) -> None:
        heard.append(piece)
        raise Enough

    with pytest.raises(Enough):
        model.tell(ASKED, listen)
    assert len(heard) == 1 and len(heard[0]) < len(whole.text) / 2
    model.scorer.reach = 0  # as a family that cannot read shared beginnings writes: by transformers' own means
    alone: list[str] = []
    assert model.tell(ASKED, alone.append).text == "".join(alone) and len(alone) > 3
