"""What the report says of a judge: how far it agrees with people, and what that agreement is worth."""

from __future__ import annotations

import pytest

from whichway.report.beside import _judge_said


@pytest.mark.parametrize(
    ("kappa", "rejected", "said"),
    [
        (0.9, 12, "its verdicts are usable"),
        (0.9, 0, "whether it tells a good answer from a poor one to the same row is not known"),
        (0.9, None, "whether it tells a good answer from a poor one to the same row is not known"),
        (0.4, 0, "read its verdicts with care"),
        (0.1, 0, "little more than chance"),
        (0.1, 12, "little more than chance"),
    ],
)
def test_agreement_is_called_usable_only_where_it_was_hard(kappa, rejected, said):
    judge = {
        "model": "big",
        "agreement": {"kappa": kappa, "agreement": 0.9, "n": 40},
        "one_sided": 0.1,
        "rejected": rejected,
    }
    (sentence,) = _judge_said({"judge": judge})
    assert said in sentence and ("usable" in sentence) is (kappa == 0.9 and rejected == 12)
