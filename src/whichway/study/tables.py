"""The tables of a study's book, and what each of their columns holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from whichway.core.task import Prediction

book = sa.MetaData()
about = sa.Table(
    "about", book, sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
)
sessions = sa.Table(
    "sessions", book, sa.Column("id", sa.Integer, primary_key=True), sa.Column("seconds", sa.Float, nullable=False)
)
units = sa.Table(
    "units",
    book,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, index=True),
    sa.Column("trial", sa.Text, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # reserved, settled, lost
    sa.Column("bound_usd", sa.Float, nullable=False),
    *(sa.Column(name, sa.Float, nullable=False, default=0.0) for name in ("usd", "seconds")),
    *(sa.Column(name, sa.Integer, nullable=False, default=0) for name in ("tokens_in", "tokens_out", "cached_tokens")),
    sa.Column("result", sa.Text, nullable=False, default="{}"),
)
trials = sa.Table(
    "trials",
    book,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),  # running, done, dropped, skipped, stopped, failed
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
)
predictions = sa.Table(
    "predictions",
    book,
    sa.Column("trial", sa.Text, primary_key=True),
    sa.Column("part", sa.Text, primary_key=True),  # validation, test
    sa.Column("example", sa.Text, primary_key=True),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("value", "scores", "score", "sources", "passages")),
    sa.Column("confidence", sa.Float, nullable=False),
    sa.Column("parsed", sa.Integer, nullable=False),
)
decisions = sa.Table(
    "decisions",
    book,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("details", sa.Text, nullable=False),
)
prompts = sa.Table(
    "prompts",
    book,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, index=True),  # of its text
    sa.Column("trial", sa.Text, nullable=False),
    sa.Column("part", sa.Text, nullable=False),  # train: rows to learn from; validation; test
    *(sa.Column(name, sa.Text, nullable=False) for name in ("parent", "change", "text", "messages")),
    *(sa.Column(name, sa.Float, nullable=True) for name in ("score", "seconds", "usd")),
    *(sa.Column(name, sa.Integer, nullable=False) for name in ("rows", "tokens")),
    sa.UniqueConstraint("id", "trial", "part", "rows", "change"),
)
vectors = sa.Table(
    "vectors", book, sa.Column("key", sa.Text, primary_key=True), sa.Column("vector", sa.LargeBinary, nullable=False)
)


def prediction(row: Mapping[str, Any]) -> Prediction:
    """Return the answer that a row of `predictions` holds."""
    value = json.loads(row["value"])
    value = tuple(value) if isinstance(value, list) else value
    cited = (tuple(json.loads(row[name])) for name in ("sources", "passages"))
    return Prediction(value, float(row["confidence"]), json.loads(row["scores"]), bool(row["parsed"]), *cited)
