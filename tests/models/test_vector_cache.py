"""Vectors kept on disk for the user's other studies: found by content, never in the way of the work."""

from __future__ import annotations

import sqlite3

import pytest

from whichway.models import vector_cache
from whichway.models.vector_cache import VectorCache

pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WHICHWAY_CACHE", str(tmp_path / "cache"))


def test_what_was_put_is_found_by_another_process_with_the_same_name():
    assert VectorCache("model-a").put({"k1": b"one", "k2": b"two"})
    assert VectorCache("model-a").get(["k1", "k2", "k3"]) == {"k1": b"one", "k2": b"two"}
    assert VectorCache("model-b").get(["k1"]) == {}


def test_many_keys_are_found_at_once():
    many = {f"k{i}": b"x" for i in range(40_000)}
    VectorCache("model-a").put(many)
    assert VectorCache("model-a").get(list(many)) == many


def test_a_broken_file_or_a_folder_that_cannot_be_written_costs_only_the_cache(tmp_path, monkeypatch):
    cache = VectorCache("model-a")
    cache.path.parent.mkdir(parents=True)
    cache.path.write_bytes(b"not a database" * 100)
    assert not cache.put({"k": b"v"})
    assert cache.get(["k"]) == {}
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WHICHWAY_CACHE", str(tmp_path / "file"))
    assert not VectorCache("model-a").put({"k": b"v"})
    assert VectorCache("model-a").get(["k"]) == {}


def test_beyond_the_limit_the_older_half_goes(monkeypatch):
    cache = VectorCache("model-a")
    cache.put({f"old{i}": bytes(100) for i in range(100)})
    monkeypatch.setattr(vector_cache, "LIMIT_BYTES", 1)
    cache.put({f"new{i}": bytes(100) for i in range(100)})
    assert len(cache.get([f"new{i}" for i in range(100)])) == 100
    assert cache.get([f"old{i}" for i in range(99)]) == {}


def test_after_many_puts_past_the_limit_most_of_what_it_holds_is_kept(monkeypatch):
    cache = VectorCache("model-a")
    monkeypatch.setattr(vector_cache, "LIMIT_BYTES", 400_000)
    asked = [f"k{i}-{j}" for i in range(40) for j in range(40)]
    for i in range(40):
        cache.put({f"k{i}-{j}": bytes(1000) for j in range(40)})
    found = cache.get(asked)
    assert list(found) and set(found) == set(asked[-len(found) :]), "the newest are kept"
    assert len(found) > 120, "a third of what the limit holds, at least"
    assert cache.path.stat().st_size < 600_000


def test_what_could_not_be_committed_is_not_said_to_be_kept(monkeypatch):
    cache = VectorCache("model-a")
    assert cache.put({"k0": b"v"})
    with sqlite3.connect(cache.path) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM vectors").fetchall()  # whoever reads lets nobody commit
        real = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: real(path, timeout=0.1))
        assert not cache.put({"k1": b"v"})
    reader.close()
    assert cache.get(["k0", "k1"]) == {"k0": b"v"}
