"""Which weights a name stands for: a hash that follows them, taken once per file."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from whichway.models import weights
from whichway.models.weights import embedder_folder, weights_digest

pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WHICHWAY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path, monkeypatch) -> Path:
    """A folder whose weights count as large, and as settled."""
    monkeypatch.setattr(weights, "SMALL_BYTES", 10)
    monkeypatch.setattr(weights, "SETTLED_S", -1.0)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.safetensors").write_bytes(b"the weights of it")
    (tmp_path / "a" / "config.json").write_text("{}")
    return tmp_path / "a"


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Names of the files that are read to be hashed."""
    names: list[str] = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, how: names.append(Path(file.name).name) or real(file, how))
    return names


def test_the_digest_follows_the_weights_and_the_settings(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "a" / "config.json").write_text("{}")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert weights_digest(tmp_path / "a") == weights_digest(tmp_path / "b")
    (tmp_path / "b" / "config.json").write_text('{"pooling": "mean"}')
    assert weights_digest(tmp_path / "a") != weights_digest(tmp_path / "b")


def test_only_an_encoder_that_lies_here_is_cached(tmp_path):
    assert embedder_folder(str(tmp_path)) == Path(tmp_path)
    assert embedder_folder("someone/on-a-hub") is None


def test_large_weights_are_read_once_for_all_runs_of_a_user(model, read):
    first = weights_digest(model)
    assert read == ["config.json", "model.safetensors"]
    assert weights_digest(model) == first
    assert read[2:] == ["config.json"], "what is small is read again, the weights are not"


def test_weights_of_the_same_size_that_came_later_are_read_again(model, read):
    first, file = weights_digest(model), model / "model.safetensors"
    before = file.stat()
    file.write_bytes(b"the weights of us")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as rsync and cp -p leave them
    assert weights_digest(model) != first


def test_a_hash_of_a_file_that_is_only_just_written_is_not_kept(model, read, monkeypatch):
    monkeypatch.setattr(weights, "SETTLED_S", 3600.0)
    weights_digest(model)
    weights_digest(model)
    assert read.count("model.safetensors") == 2


@pytest.mark.parametrize("said", ["", "[]", "{", '{"%s": 1}', '{"%s": [1, 2, 3, "zz"]}', '{"%s": [17, 1, 1, "ab"]}'])
def test_kept_hashes_that_cannot_be_read_are_taken_again(model, tmp_path, said, monkeypatch):
    first = weights_digest(model)
    (tmp_path / "cache" / "digests.json").write_text(said.replace("%s", str(model / "model.safetensors")))
    assert weights_digest(model) == first
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WHICHWAY_CACHE", str(tmp_path / "file"))  # a folder that cannot be made
    assert weights_digest(model) == first


def test_hashes_of_files_that_are_gone_are_forgotten(model, tmp_path):
    weights_digest(model)
    shutil.move(model, tmp_path / "b")
    weights_digest(tmp_path / "b")
    assert str(model) + "/" not in (tmp_path / "cache" / "digests.json").read_text()
