"""Documents from rows, texts, pages and PDFs: what is read, and what is said about what cannot be."""

from __future__ import annotations

import io
import json
import os
import zlib
from pathlib import Path

import pytest

from whichway.errors import DataError
from whichway.intake import documents as room
from whichway.intake import pdf
from whichway.intake.documents import read_documents

GOOD = "The pump is cleaned every second week, after the valve was closed."


def rows(path: Path, *found: object) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in found))
    return path


def make_pdf(*pages: str, title: str = "", stream: bytes | None = None, compressed: bool = False) -> bytes:
    """Return a PDF with one line of text per page, written by hand; `stream` replaces the drawing of every page."""
    objects: list[bytes] = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    kids = []
    for page in pages:
        drawn = stream if stream is not None else f"BT /F1 12 Tf 72 700 Td ({page}) Tj ET".encode()
        about = b"/Filter /FlateDecode " if compressed else b""
        objects.append(b"<< " + about + b"/Length %d >>\nstream\n" % len(drawn) + drawn + b"\nendstream")
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Count %d /Kids [" % len(pages) + b" ".join(kids) + b"] >>"
    objects.append(b"<< /Title (" + title.encode() + b") >>")
    made, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(made))
        made += b"%d 0 obj\n" % number + one + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    end = b"trailer << /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF" % (size, size - 1, len(made))
    return made + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + end


def encrypted(data: bytes) -> bytes:
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(data)))
    writer.encrypt("secret", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def codes(findings) -> set[str]:
    return {one.code for one in findings}


def test_a_file_of_rows_gives_documents_with_its_ids(tmp_path):
    path = rows(tmp_path / "documents.jsonl", {"id": "a", "title": "Pump", "text": GOOD}, {"id": 7, "text": "Seven."})
    documents, findings = read_documents(path)
    assert [(one.id, one.title, one.text) for one in documents] == [("a", "Pump", GOOD), ("7", "", "Seven.")]
    assert findings == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"title": "x", "text": "y"}, "line 2: there is no 'id'."),
        ({"id": "b", "txt": "y"}, "line 2: there is no 'text'."),
        ({"id": "b", "text": 5}, "line 2, column 'text': '5' is no text."),
        ({"id": "", "text": "y"}, "line 2, column 'id': '' is no id."),
        ({"id": True, "text": "y"}, "line 2, column 'id': 'True' is no id."),
        ({"id": "a", "text": "other"}, "the id 'a' is also that of line 1"),
    ],
)
def test_a_row_that_is_no_document_is_refused_with_its_line(tmp_path, row, said):
    with pytest.raises(DataError) as caught:
        read_documents(rows(tmp_path / "documents.jsonl", {"id": "a", "text": GOOD}, row))
    assert said in caught.value.problem
    assert caught.value.fix


def test_a_row_that_stands_there_twice_is_taken_once_and_said(tmp_path):
    same = {"id": "a", "title": "t", "text": GOOD}
    documents, findings = read_documents(rows(tmp_path / "documents.jsonl", same, same))
    assert len(documents) == 1
    assert [(one.code, one.rows) for one in findings] == [("document-twice", ("a",))]


def test_a_folder_is_read_with_all_below_it_and_its_ids_are_paths(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "note.txt").write_text("A note about valves.")
    (tmp_path / "b.md").write_text("---\ntitle: 'Named above'\n---\nText.\n")
    (tmp_path / "a.md").write_text("```\n# no heading\n```\n\nPump care\n=========\n\nClean it.\n")
    (tmp_path / "page.html").write_text("<title>The page</title><h2>Part</h2><p>Said.")
    (tmp_path / "hand.pdf").write_bytes(make_pdf("Close the valve.", "Open it.", title="Handbook"))
    (tmp_path / ".hidden.txt").write_text("never read")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG")
    documents, findings = read_documents(tmp_path)
    assert [(one.id, one.title) for one in documents] == [
        ("a.md", "Pump care"),
        ("b.md", "Named above"),
        ("hand.pdf", "Handbook"),
        ("page.html", "The page"),
        ("deep/er/note.txt", "note"),
    ]
    assert documents[0].text.endswith("# Pump care\n\nClean it.")
    assert documents[2].text == "Close the valve.\n\nOpen it."
    assert [(one.code, one.severity, one.rows) for one in findings] == [("document-other-kind", "info", ("logo.png",))]


def test_one_file_is_a_document_as_well(tmp_path):
    (tmp_path / "faq.txt").write_text(GOOD)
    documents, _ = read_documents(tmp_path / "faq.txt")
    assert [(one.id, one.title, one.text) for one in documents] == [("faq.txt", "faq", GOOD)]


def test_a_page_is_read_as_it_is_seen(tmp_path):
    page = (
        "<html><head><title> A &amp; B </title><style>p{}</style><script>var hidden = '<p>no</p>';</script></head>"
        "<body><nav>Home | More</nav><h1>Care <b>of</b> pumps</h1><p>First<br>second</p>"
        "<ul><li>one<li>two</ul><table><tr><td>x</td><td>y</td></tr></table><svg><title>no</title></svg></body></html>"
    )
    (tmp_path / "a.html").write_text(page)
    documents, _ = read_documents(tmp_path / "a.html")
    assert documents[0].title == "A & B"
    assert documents[0].text.split() == "# Care of pumps First second - one - two x y".split()
    assert documents[0].text.startswith("# Care of pumps\n\nFirst\nsecond\n")


def test_a_page_whose_head_is_never_closed_is_read(tmp_path):
    (tmp_path / "a.html").write_text("<head><style>p{}</style><body><p>Text.")
    assert read_documents(tmp_path / "a.html")[0][0].text == "Text."


def test_a_drawing_in_a_page_does_not_name_it(tmp_path):
    (tmp_path / "a.html").write_text("<svg><title>icon</title></svg><h1>Pump care</h1>Clean it.")
    documents, _ = read_documents(tmp_path / "a.html")
    assert (documents[0].title, documents[0].text) == ("Pump care", "# Pump care\n\nClean it.")


def test_what_cannot_be_read_in_a_folder_is_said_and_the_rest_goes_on(tmp_path):
    whole = make_pdf("Good text.")
    (tmp_path / "good.txt").write_text(GOOD)
    (tmp_path / "locked.pdf").write_bytes(encrypted(whole))
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\n" + os.urandom(50))
    (tmp_path / "scan.pdf").write_bytes(make_pdf("", stream=b"0 0 m 10 10 l S"))
    (tmp_path / "empty.pdf").write_bytes(b"")
    (tmp_path / "empty.md").write_text(" \n")
    (tmp_path / "coded.txt").write_bytes("ταχύς".encode("iso8859-7") * 20)
    documents, findings = read_documents(tmp_path)
    assert [one.id for one in documents] == ["good.txt"]
    said = {one.rows[0]: one.message for one in findings if one.code == "document-unreadable"}
    assert set(said) == {"locked.pdf", "broken.pdf", "scan.pdf", "coded.txt"}
    assert "locked.pdf: the PDF is encrypted" in said["locked.pdf"]
    assert "without a password" in said["locked.pdf"]
    assert "damaged" in said["broken.pdf"]
    assert "OCR" in said["scan.pdf"]
    assert "UTF-8" in said["coded.txt"]
    assert [one.rows for one in findings if one.code == "document-empty"] == [("empty.md", "empty.pdf")]


def test_a_pdf_that_asks_for_too_much_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "WALL_SECONDS", 0.01)
    (tmp_path / "slow.pdf").write_bytes(make_pdf("Text."))
    with pytest.raises(DataError) as caught:
        read_documents(tmp_path / "slow.pdf")
    assert "too much memory or time" in caught.value.problem


def test_a_child_that_the_system_stopped_used_too_much(tmp_path, monkeypatch):
    child = tmp_path / "child.py"
    child.write_text("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)")
    monkeypatch.setattr(pdf, "_CHILD", child)
    (tmp_path / "slow.pdf").write_bytes(make_pdf("Text."))
    with pytest.raises(DataError, match="too much memory or time"):
        read_documents(tmp_path / "slow.pdf")


def test_the_child_that_reads_a_pdf_sees_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("BIG_API_KEY", "sk-secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    child = tmp_path / "child.py"
    child.write_text("import json, os; print(json.dumps({'pages': [*os.environ], 'title': '', 'count': 1}))")
    real = read_documents(_pdf(tmp_path / "real.pdf"))[0]
    monkeypatch.setattr(pdf, "_CHILD", child)
    seen = set(pdf._ask(b"")["pages"]) - {"LC_CTYPE"}  # which Python sets itself
    assert "PATH" in seen and seen <= set(pdf._PASSED) and len(real) == 1


def _pdf(path):
    path.write_bytes(make_pdf("Text enough to be read by anybody."))
    return path


def test_a_pdf_that_unpacks_to_gigabytes_costs_one_document_at_most(tmp_path):
    bomb = zlib.compress(b"BT (x) Tj ET\n" * 20_000_000, 1)
    (tmp_path / "bomb.pdf").write_bytes(make_pdf("", stream=bomb, compressed=True))
    (tmp_path / "good.txt").write_text(GOOD)
    documents, findings = read_documents(tmp_path)
    assert "good.txt" in [one.id for one in documents]
    assert codes(findings) <= {"document-unreadable", "document-cut"}


def test_the_child_that_reads_a_pdf_has_little_memory_and_may_write_no_file():
    import subprocess
    import sys

    code = (
        f"import sys; sys.path.insert(0, {str(Path(pdf.__file__).parent)!r}); import pdf_child, resource; "
        "pdf_child._limit(); print([resource.getrlimit(x)[0] for x in "
        "(resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1000000000, 30, 0]"


def test_pages_without_text_are_counted(tmp_path):
    (tmp_path / "half.pdf").write_bytes(make_pdf("Some text.", ""))
    documents, findings = read_documents(tmp_path / "half.pdf")
    assert documents[0].title == "half"
    assert "1 of 2 pages hold no text" in findings[0].message


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (outside / "secret.txt").write_text("a secret")
    (folder / "good.txt").write_text(GOOD)
    (folder / "link.txt").symlink_to(outside / "secret.txt")
    (folder / "all").symlink_to(outside)
    (folder / "gone.txt").symlink_to(tmp_path / "nothing.txt")
    documents, findings = read_documents(folder)
    assert [one.id for one in documents] == ["good.txt"]
    assert sorted(one.rows[0] for one in findings if one.code == "document-outside") == ["all", "gone.txt", "link.txt"]


def test_a_pipe_in_the_folder_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "good.txt").write_text(GOOD)
    documents, findings = read_documents(tmp_path)
    assert [one.id for one in documents] == ["good.txt"]
    assert "pipe" in findings[0].message


def test_a_huge_file_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "MAX_FILE_BYTES", 1000)
    (tmp_path / "good.txt").write_text(GOOD)
    (tmp_path / "huge.txt").write_text("word " * 1000)
    documents, findings = read_documents(tmp_path)
    assert [one.id for one in documents] == ["good.txt"]
    assert "at most 0 MB are read" in findings[0].message


def test_documents_with_the_same_text_are_named(tmp_path):
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text(GOOD)
    _, findings = read_documents(tmp_path)
    assert [(one.code, one.rows) for one in findings] == [("document-repeated", ("b.txt", "c.txt"))]


def test_where_nothing_can_be_read_the_error_says_what_to_give(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    beside = tmp_path / "beside"
    beside.mkdir()
    rows(beside / "documents.jsonl", {"id": "a", "text": GOOD})
    (tmp_path / "blank.txt").write_text("\n")
    (tmp_path / "sheet.xlsx").write_bytes(b"PK")
    (tmp_path / "locked.pdf").write_bytes(encrypted(make_pdf("Text.")))
    for path, said in (
        (empty, "holds no .txt"),
        (beside, "documents.jsonl itself"),
        (tmp_path / "blank.txt", "no document can be read"),
        (tmp_path / "sheet.xlsx", "not read from .xlsx"),
        (tmp_path / "locked.pdf", "without a password"),
        (tmp_path / "nothing.jsonl", "no such file"),
        (tmp_path / "nothing", "no such file"),
    ):
        with pytest.raises(DataError) as caught:
            read_documents(path)
        assert said in caught.value.problem + caught.value.fix
