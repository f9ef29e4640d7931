"""Vectors of texts kept on disk by content, for all runs of this user: no text is embedded twice by the same weights."""

# Only hashes of texts and their vectors are kept. The cache may be deleted at any time; a broken one is passed over.

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from whichway.models.embedded import cache_folder

LIMIT_BYTES = 2 << 30


class VectorCache:
    """A table from keys to vectors in the cache folder; `name` says whose vectors they are."""

    def __init__(self, name: str) -> None:
        self.path = cache_folder() / "vectors" / f"{name[:32]}.sqlite"

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the vectors that are known."""
        found: dict[str, bytes] = {}
        if not self.path.exists():
            return found
        with self._open() as db:
            asked = "SELECT key, vector FROM vectors WHERE key IN (SELECT value FROM json_each(?))"
            found.update(db.execute(asked, (json.dumps(list(keys)),)).fetchall())
        return found

    def put(self, vectors: Mapping[str, bytes]) -> bool:
        """Keep vectors and say whether they are kept; beyond the limit the older half goes first."""
        is_kept = False
        with self._open() as db:
            with db:
                db.execute("CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, vector BLOB NOT NULL)")
                db.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", vectors.items())
                if _bytes_used(db) > LIMIT_BYTES:
                    db.execute("DELETE FROM vectors WHERE rowid < (SELECT avg(rowid) FROM vectors)")
            is_kept = self.path.exists()  # committed, and not to memory in place of a folder that cannot be written
        return is_kept

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Give a connection; what goes wrong with it costs the cache's use, never the caller's work."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=10)
        except (OSError, sqlite3.Error):
            db = sqlite3.connect(":memory:")
        try:
            yield db
        except (OSError, sqlite3.Error):
            pass
        finally:
            db.close()


def _bytes_used(db: sqlite3.Connection) -> int:
    """Return the size of what is kept: the file itself does not shrink when rows go, its pages are only free again."""
    (pages,), (free,), (size,) = (
        db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
