"""Which weights a name stands for: the folder they lie in, and a hash of them that is taken once per file."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whichway.models import hardware
from whichway.models.embedded import cache_folder, encoder_folder

SMALL_BYTES = 1 << 20  # what is smaller is hashed each time
SETTLED_S = 2.0  # a file changed less than this before it was hashed may change again at the same time by its clock

Known = dict[str, list[Any]]  # path -> size, time of content, time of entry (both in ns), SHA-256


def weights_digest(folder: Path) -> str:
    """Return a hash of a model folder's weights and settings and of the number format they are used in.

    The hash of a large file is kept in the cache folder with its path, size and times, and taken again where these differ.
    """
    return _digest(folder, (".safetensors", ".json", ".txt"), str(hardware.dtype()))


def converted_digest(folder: Path) -> str:
    """Return a hash of a folder that optimum-intel made for OpenVINO."""
    return _digest(folder, (".xml", ".bin", ".json"), "openvino")


def _digest(folder: Path, kinds: Sequence[str], what: str) -> str:
    digest = hashlib.sha256(what.encode())
    kept = _read(_kept_in())
    new: Known = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in kinds and path.is_file():
            digest.update(f"\0{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(_content(path, kept, new))
    if new:
        _keep(new)
    return digest.hexdigest()


def embedder_folder(name: str) -> Path | None:
    """Return the folder of an encoder named in a task file; None for one on a hub: see snapshot_folder."""
    if name == "embedded":
        return encoder_folder()
    return Path(name) if Path(name).is_dir() else None


def snapshot_folder(network: Any) -> Path | None:
    """Return the folder in the local hub cache that an encoder was loaded from; None where it does not say its commit.

    Only a loaded one tells: a hub may hold newer weights under a name than those that lie here, until they are asked for.
    """
    from huggingface_hub import try_to_load_from_cache

    said = network.model_card_data
    if not said.base_model or not re.fullmatch("[0-9a-f]{40}", said.base_model_revision or ""):
        return None
    for file in ("modules.json", "config.json"):  # one of them lies at the top of an encoder's repository
        found = try_to_load_from_cache(said.base_model, file, revision=said.base_model_revision)
        if isinstance(found, str):
            return Path(found).parent
    return None


def _content(path: Path, kept: Known, new: Known) -> bytes:
    about, key = path.stat(), str(path.resolve())
    stamp = [about.st_size, about.st_mtime_ns, about.st_ctime_ns]
    if kept.get(key, [])[:3] == stamp:
        return bytes.fromhex(kept[key][3])
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256")
    settled = time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > SETTLED_S * 1e9
    if about.st_size >= SMALL_BYTES and settled:
        new[key] = [*stamp, found.hexdigest()]
    return found.digest()


def _kept_in() -> Path:
    return cache_folder() / "digests.json"


def _read(file: Path) -> Known:
    """Return what is kept, passing over what is not as `_keep` writes it."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        return {key: value for key, value in said.items() if len(value) == 4 and len(bytes.fromhex(value[3])) == 32}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(new: Known) -> None:
    """Write the hashes beside those of other files that are still there; a cache that cannot be written costs nothing else."""
    file = _kept_in()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        all_ = {key: value for key, value in _read(file).items() if Path(key).exists()} | new
        scratch = file.with_suffix(f".{time.time_ns()}")
        scratch.write_text(json.dumps(all_, indent=1), encoding="utf-8")
        scratch.replace(file)
    except OSError:
        pass
