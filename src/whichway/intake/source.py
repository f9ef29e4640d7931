"""A file to be read: is it safe to open, and what are its bytes and its text."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from whichway.errors import DataError
from whichway.intake.decode import decode
from whichway.intake.finding import Finding, refuse

MAX_FILE_BYTES = 500_000_000
AS_CSV = "Save it as CSV (UTF-8), JSONL or Parquet."

# Refused by name, before anything is opened: opening some of these runs code of whoever wrote them.
_REFUSED = {
    "pickle (it can run code when opened)": "pkl pickle pt pth bin ckpt joblib dill model",
    "an array or model file": "npy npz h5 hdf5 keras msgpack safetensors gguf mat rds rdata",
    "a spreadsheet": "xls xlsx xlsm xlsb ods numbers",
    "an archive": "zip gz bz2 xz 7z tar tgz zst rar",
    "a document": "pdf doc docx odt rtf ppt pptx html htm xml",
    "a database": "db sqlite sqlite3 mdb accdb dbf feather arrow orc avro",
    "a picture or sound": "png jpg jpeg gif webp wav mp3 mp4",
    "a configuration file": "yaml yml toml ini",
}
_MAGIC = (
    (b"PK\x03\x04", "a ZIP archive (a spreadsheet or a document)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"%PDF-", "a PDF document"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"ARROW1", "an Arrow file"),
    (b"GGUF", "a GGUF model"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
)


@dataclass(frozen=True)
class Source:
    """An opened file. `text` is empty for Parquet, the one binary format that is read."""

    path: Path
    data: bytes
    text: str
    encoding: str
    notes: tuple[Finding, ...] = ()

    @property
    def suffix(self) -> str:
        """The extension in lower case with its dot, or an empty string."""
        return self.path.suffix.lower()


def open_source(path: Path) -> Source:
    """Read a regular file and decode it; raises DataError for anything that is no data file."""
    _refuse_by_name(path)
    size = regular_size(path)
    if size > MAX_FILE_BYTES:
        what = f"the file has {size / 1e6:,.0f} MB; at most {MAX_FILE_BYTES / 1e6:,.0f} MB are read."
        raise refuse(path, what, "Take a random sample of its rows: a few thousand are enough to compare strategies.")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise refuse(path, f"it cannot be read: {error.strerror or error}.", "Check its permissions.") from None
    if not data.strip():
        raise refuse(path, "the file is empty.", "Give a file with a header and at least 20 rows.", line=1)
    _refuse_by_magic(path, data)
    if data.startswith(b"PAR1"):
        return Source(path, data, "", "binary")
    text, encoding, notes = decode(data, path)
    if not text.strip():
        raise refuse(path, "the file is empty.", "Give a file with a header and at least 20 rows.", line=1)
    return Source(path, data, text, encoding, tuple(notes))


def regular_size(path: Path) -> int:
    """Return the size in bytes; raises DataError unless the path leads to a regular file, which is not opened."""
    try:
        about = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path) from None
    except ValueError:
        raise refuse(path, "the path holds a NUL character.", "Give the path of a file.") from None
    except OSError as error:
        raise refuse(path, f"it cannot be reached: {error.strerror}.", "Give the path of a file.") from None
    if stat.S_ISDIR(about.st_mode):
        raise refuse(path, "this is a folder, not a file.", "Give one file, such as train.jsonl or rows.csv.")
    if not stat.S_ISREG(about.st_mode):
        raise refuse(path, "this is a pipe or a device, not a file.", "Write the rows to a file and give its path.")
    return about.st_size


def _refuse_by_name(path: Path) -> None:
    if "://" in str(path) or str(path).startswith(("http:/", "https:/", "hf:/", "s3:/")):
        raise refuse(path, "this is an address, and nothing is fetched.", "Download the file and give its path.")
    for what, suffixes in _REFUSED.items():
        if path.suffix.lower().lstrip(".") in suffixes.split():
            raise refuse(path, f"this is {what}, which is not read.", AS_CSV)


def _missing(path: Path) -> DataError:
    try:
        near = get_close_matches(path.name, [one.name for one in path.parent.iterdir()], 1)
    except (OSError, ValueError):
        near = []
    fix = f"Did you mean {near[0]!r}?" if near else "Check the path; it is relative to the task file."
    return refuse(path, "there is no such file.", fix)


def _refuse_by_magic(path: Path, data: bytes) -> None:
    for magic, what in _MAGIC:
        if data.startswith(magic):
            shown = f"its extension says {path.suffix or 'nothing'}, its content is {what}."
            raise refuse(path, shown, AS_CSV, line=1)
