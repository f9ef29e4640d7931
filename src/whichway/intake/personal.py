"""Personal data and secrets in a text: where they stand, never what they say."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from whichway.core.task import Example
from whichway.intake.finding import Finding

Kind = Literal["email", "phone", "card", "iban", "ip", "secret"]

_WORDS: dict[Kind, str] = {
    "email": "e-mail addresses",
    "phone": "phone numbers",
    "card": "payment card numbers",
    "iban": "bank accounts (IBAN)",
    "ip": "IP addresses",
    "secret": "keys or tokens",
}
_SECRET = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"sk-(?:proj-|ant-|or-|live_)?[A-Za-z0-9_-]{16,}"
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{18,}"
    r"|hf_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{30,}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|xox[abprs]-[A-Za-z0-9-]{10,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{40,})"
    r"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\d.,])(?:\d[ -]?){12,18}\d(?![\d])")
_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
# A number counts as a phone number when it is written as one: with a plus, an area code in brackets, or in groups.
_PHONE = re.compile(
    r"(?<![\w.,/-])(?<!\d )(?:\+\d{1,3}[ .-]?(?:\(\d{1,5}\)[ .-]?)?\d(?:[ .-]?\d){5,12}"
    r"|\(0?\d{2,4}\)[ .-]?\d{3,4}[ .-]?\d{3,5}"
    r"|\d{3}[.-]\d{3}[.-]\d{4}"
    r"|0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,4}|0\d{9,10})(?![\w/-]|[.,]\d| \d)"
)


@dataclass(frozen=True)
class Hit:
    """Where something personal stands: `text[start:end]`."""

    kind: Kind
    start: int
    end: int


def find(text: str) -> list[Hit]:
    """Return what looks like personal data or a secret, in order, without overlaps.

    Card numbers must pass Luhn (ISO/IEC 7812-1), accounts mod 97 (ISO 13616); loopback and version-like addresses are
    left out. Names and postal addresses are not looked for.
    """
    if not any(char.isdigit() or char == "@" for char in text) and "-----BEGIN" not in text and len(text) < 20:
        return []
    taken: list[Hit] = []
    for kind, pattern in _PATTERNS:
        for found in pattern.finditer(text):
            hit = Hit(kind, found.start(), found.end())
            if _is_real(kind, found.group()) and not any(hit.start < one.end and one.start < hit.end for one in taken):
                taken.append(hit)
    return sorted(taken, key=lambda hit: hit.start)


def summarise(examples: Sequence[Example], where: str = "the data") -> list[Finding]:
    """Return at most one finding: how many of each kind, in how many rows; the values themselves are never repeated."""
    counts: Counter[Kind] = Counter()
    rows = []
    for example in examples:
        hits = [hit for value in example.inputs.values() if isinstance(value, str) for hit in find(value)]
        counts.update(hit.kind for hit in hits)
        if hits:
            rows.append(example.id)
    if not rows:
        return []
    listed = ", ".join(f"{count} {_WORDS[kind]}" for kind, count in counts.most_common())
    message = (
        f"{len(rows)} of {len(examples)} rows of {where} seem to hold personal data or secrets: {listed}. "
        "Set `privacy: local` under `constraints` to keep them on this machine, or remove them."
    )
    return [Finding("personal-data", "warning", message, tuple(rows[:20]))]


def holds_secret(text: str) -> bool:
    """Tell whether the text holds something of the form of an API key, a token or a private key."""
    return _SECRET.search(text) is not None


_PATTERNS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("secret", _SECRET),
    ("email", _EMAIL),
    ("iban", _IBAN),
    ("card", _CARD),
    ("ip", _IPV4),
    ("ip", _IPV6),
    ("phone", _PHONE),
)


def _is_real(kind: Kind, found: str) -> bool:
    if kind == "card":
        return _is_card(re.sub(r"\D", "", found))
    if kind == "iban":
        return _is_iban(found.replace(" ", ""))
    if kind == "ip":
        return _is_address(found)
    if kind == "phone":
        return 7 <= len(re.sub(r"\D", "", found)) <= 15 and not re.fullmatch(r"\d{4}[.-]\d{2}[.-]\d{2}", found)
    return True


def _is_card(digits: str) -> bool:
    if digits[0] not in "23456" or len(set(digits)) < 2:
        return False
    doubled = [int(digit) * (1 + i % 2) for i, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def _is_iban(account: str) -> bool:
    if not 15 <= len(account) <= 34:
        return False
    return int("".join(str(int(char, 36)) for char in account[4:] + account[:4])) % 97 == 1


def _is_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.version == 6:
        return text.count(":") >= 3 and any(char.isdigit() for char in text) and not address.is_loopback
    # 1.2.3.4 is more often a version, and 14.2.5.2 the section of a contract, than a host.
    return not address.is_loopback and any(int(part) > 40 for part in text.split("."))
