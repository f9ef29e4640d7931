"""What a case of the catalogue is, and the small functions that lay its files."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

COLOURS = ("red", "green", "blue", "grey", "amber", "violet", "olive", "pink", "teal", "ochre")


@dataclass(frozen=True)
class Case:
    """`expect` is 'accepted', the code of a warning, or an exit code; `says` and `fix` must be in the message.

    `build` lays files into a folder beside `task.yaml` (made where it lays none) and returns the data file.
    """

    name: str
    build: Callable[[Path], str]
    expect: str | int
    line: int = 0
    column: int | str = 0
    says: str = ""
    fix: str = ""
    task: str = ""


def good_rows(count: int = 40) -> list[tuple[str, str]]:
    """Rows of two labels, none of which resembles another."""
    return [
        (f"the {COLOURS[i % 10]} parcel {i} came {'late' if i % 2 else 'early'}", "ab"[i % 2] * 3) for i in range(count)
    ]


def csv_text(rows: list[tuple[str, str]], head: str = "text,label") -> str:
    return "\n".join([head, *(f"{text},{label}" for text, label in rows)]) + "\n"


def jsonl_text(rows: list[tuple[str, str]]) -> str:
    return "".join(json.dumps({"input": text, "output": label}, ensure_ascii=False) + "\n" for text, label in rows)


def lay(name: str, content: str | bytes) -> Callable[[Path], str]:
    """Return a builder that writes one data file."""

    def build(folder: Path) -> str:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)
        return name

    return build


def task_text(content: str | bytes) -> Callable[[Path], str]:
    """Return a builder that writes good rows and this task file; `{base}` stands for the smallest good one."""

    def build(folder: Path) -> str:
        (folder / "rows.csv").write_text(csv_text(good_rows()))
        base = "task: t\ndata: rows.csv\ntarget: label\n"
        data = content.replace("{base}", base).encode() if isinstance(content, str) else content
        (folder / "task.yaml").write_bytes(data)
        return "task.yaml"

    return build


def tested(train: list[tuple[str, str]], test: list[tuple[str, str]]) -> Callable[[Path], str]:
    """Return a builder of train rows and the user's own test rows."""

    def build(folder: Path) -> str:
        (folder / "rows.csv").write_text(csv_text(train))
        (folder / "test.csv").write_text(csv_text(test))
        (folder / "task.yaml").write_text("task: t\ndata: {train: rows.csv, test: test.csv}\ntarget: label\n")
        return "rows.csv"

    return build


def fifo(folder: Path) -> str:
    os.mkfifo(folder / "rows.csv")
    return "rows.csv"


def folder(folder: Path) -> str:
    (folder / "rows.csv").mkdir()
    return "rows.csv"


def device(folder: Path) -> str:
    (folder / "rows.csv").symlink_to("/dev/zero")
    return "rows.csv"


def near_miss(folder: Path) -> str:
    (folder / "rows1.csv").write_text(csv_text(good_rows()))
    return "rows.csv"


def zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("rows.csv", csv_text(good_rows()))
    return made.getvalue()


def parquet(damage: bool = False) -> Callable[[Path], str]:
    def build(folder: Path) -> str:
        import pyarrow
        from pyarrow import parquet

        rows = good_rows()
        columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
        parquet.write_table(pyarrow.table(columns), folder / "rows.parquet")
        if damage:
            data = (folder / "rows.parquet").read_bytes()
            (folder / "rows.parquet").write_bytes(data[:200] + b"\xff" * 60 + data[260:])
        return "rows.parquet"

    return build


def misnamed_parquet(folder: Path) -> str:
    (folder / parquet()(folder)).rename(folder / "r.csv")
    return "r.csv"


def encoded(encoding: str, mark: bytes = b"", extra: str = "") -> bytes:
    return mark + csv_text([*good_rows(), (f"a café {extra}", "aaa")]).encode(encoding)


def foreign(encoding: str, words: str) -> bytes:
    return csv_text([(f"{words} {i}", label) for i, (_, label) in enumerate(good_rows())]).encode(encoding)


GOOD = csv_text(good_rows())
HEAD = csv_text(good_rows(3))  # lines 1 to 4
NATIVE = jsonl_text(good_rows())
NUMBERED = "id,text,label\n" + "".join(f"{i},t{i},{'ab'[i % 2]}\n" for i in range(30))
WORDS = [(text, {"aaa": "refund", "bbb": "order"}[label]) for text, label in good_rows()]
SKEWED = [(f"row {i} {i * 7}", "rare" if i == 5 else "often") for i in range(1000)]
NO_TEXT = '{"messages": [{"role": "user", "content": [{"type": "image"}]}]}'
NO_ROLE = '{"messages": [{"role": "wizard", "content": "x"}]}'
UNREAD = ("pkl", "pt", "bin", "ckpt", "joblib", "npy", "h5", "keras", "xlsx", "zip", "pdf", "html")
