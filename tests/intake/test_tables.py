"""Reading files of rows: formats, encodings, and that nothing but a WhichwayError ever comes out."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whichway import registry
from whichway.errors import DataError, UsageError, WhichwayError
from whichway.intake.tables import Table, read_table

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_the_formats_promised_are_registered() -> None:
    assert set(registry.names("format")) >= {"csv", "tsv", "jsonl", "json", "parquet", "chat", "alpaca", "sharegpt"}


def test_a_csv_keeps_every_cell_a_string_and_knows_the_line_of_each_row(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "a.csv", 'id,text,label\n1,"two\nlines",no\n\n02,"a ""b"" c",1e3\n'))
    assert table.rows == [
        {"id": "1", "text": "two\nlines", "label": "no"},
        {"id": "02", "text": 'a "b" c', "label": "1e3"},
    ]
    assert table.lines == [2, 5]
    assert (table.format, table.encoding, table.columns) == ("csv", "utf-8", ("id", "text", "label"))


def test_a_tsv_and_a_csv_of_the_same_rows_give_the_same_table(tmp_path: Path) -> None:
    one = read_table(write(tmp_path, "a.tsv", "a\tb\n1,5\tx\n"))
    two = read_table(write(tmp_path, "a.csv", 'a,b\n"1,5",x\n'))
    assert one.format == "tsv" and one.rows == two.rows == [{"a": "1,5", "b": "x"}]


def test_crlf_and_lf_give_the_same_rows(tmp_path: Path) -> None:
    text = 'a,b\n1,x\n2,"y\nz"\n'
    lf, crlf = write(tmp_path, "lf.csv", text), write(tmp_path, "crlf.csv", text.replace("\n", "\r\n"))
    assert read_table(lf).lines == read_table(crlf).lines == [2, 3]
    assert read_table(crlf).rows[1] == {"a": "2", "b": "y\r\nz"}


def test_a_native_row_with_an_object_as_input_becomes_one_column_per_field(tmp_path: Path) -> None:
    rows = [{"id": "1", "input": {"a": "x", "n": 2}, "output": "u"}, {"id": "2", "input": {"a": "y"}, "output": "v"}]
    table = read_table(write(tmp_path, "a.jsonl", lines(*rows)))
    assert table.inputs == ("a", "n") and table.target == "output"
    assert table.rows[0] == {"id": "1", "a": "x", "n": 2, "output": "u"}


def test_a_field_called_like_a_column_beside_it_is_told_apart(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "a.jsonl", lines({"id": "1", "input": {"id": 7}, "output": "u"})))
    assert table.inputs == ("input.id",) and table.rows[0] == {"id": "1", "input.id": 7, "output": "u"}


def test_a_chat_file_gives_the_last_answer_as_target_and_the_system_message_as_instruction(tmp_path: Path) -> None:
    def row(question: str, answer: str) -> dict[str, object]:
        said = [("system", "Route it."), ("user", question), ("assistant", answer)]
        return {"messages": [{"role": role, "content": text} for role, text in said]}

    table = read_table(write(tmp_path, "a.jsonl", lines(row("My card?", "cards"), row("My loan?", "loans"))))
    assert (table.format, table.instruction, table.inputs, table.target) == ("chat", "Route it.", ("input",), "output")
    assert table.rows == [{"input": "My card?", "output": "cards"}, {"input": "My loan?", "output": "loans"}]


def test_a_conversation_of_several_turns_keeps_who_said_what(tmp_path: Path) -> None:
    said = [("human", "Hi"), ("gpt", "Hello"), ("human", "Bye"), ("gpt", "end")]
    row = {"conversations": [{"from": one, "value": text} for one, text in said]}
    table = read_table(write(tmp_path, "a.json", json.dumps([row])))
    assert table.format == "sharegpt"
    assert table.rows == [{"input": "user: Hi\nassistant: Hello\nuser: Bye", "output": "end"}]


def test_system_messages_that_differ_become_an_input(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "system", "content": s}, {"role": "user", "content": "q"}]} for s in ("one", "two")]
    table = read_table(write(tmp_path, "a.jsonl", lines(*rows)))
    assert table.inputs == ("system", "input") and table.instruction is None
    assert [note.code for note in table.notes] == ["system-differs"]


@pytest.mark.parametrize("as_array", [True, False])
def test_an_alpaca_file_with_one_instruction_makes_it_that_of_the_task(tmp_path: Path, as_array: bool) -> None:
    rows = [{"instruction": "Sort.", "input": text, "output": "a"} for text in ("x", "y")]
    name, text = ("a.json", json.dumps(rows)) if as_array else ("a.jsonl", lines(*rows))
    table = read_table(write(tmp_path, name, text))
    assert (table.format, table.instruction, table.inputs) == ("alpaca", "Sort.", ("input",))


def test_alpaca_instructions_that_differ_are_inputs(tmp_path: Path) -> None:
    rows = [{"instruction": f"Do {i}", "input": "", "output": "a"} for i in range(2)]
    assert read_table(write(tmp_path, "a.json", json.dumps(rows))).inputs == ("instruction",)


def test_parquet_gives_json_values_and_no_index(tmp_path: Path) -> None:
    import datetime

    import pandas

    frame = pandas.DataFrame(
        {"text": ["x", None], "n": [1.5, float("nan")], "day": [datetime.date(2024, 1, 2)] * 2, "tags": [["a"], []]},
        index=[5, 9],
    )
    frame.to_parquet(tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert table.rows == [
        {"text": "x", "n": 1.5, "day": "2024-01-02", "tags": ["a"]},
        {"text": None, "n": None, "day": "2024-01-02", "tags": []},
    ]
    assert table.lines == [1, 2]


def test_an_unknown_format_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_table(write(tmp_path, "a.csv", "a,b\n1,2\n"), "excel")
    assert "csv" in caught.value.fix


def test_a_control_character_in_a_cell_never_reaches_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_table(write(tmp_path, "a.csv", "a,b\nx,y,\x1b[31mred\n"))
    assert "\x1b" not in caught.value.problem and "\\u001b" in caught.value.problem


def test_reading_does_not_change_python_for_others() -> None:
    import csv
    import sys

    assert csv.field_size_limit() == 131072 and sys.getrecursionlimit() >= 1000


SUFFIXES = st.sampled_from([".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt", ""])
BYTES = st.one_of(
    st.binary(max_size=300),
    st.text(alphabet='ab,;"\t\r\n{}[]:\\ué\u2028\ud7ff0 ', max_size=120).map(lambda text: text.encode()),
    st.binary(max_size=100).map(lambda data: b"PAR1" + data + b"PAR1"),
    st.tuples(
        st.sampled_from([b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\xff\xfe\0\0"]), st.binary(max_size=80)
    ).map(b"".join),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["input", "output", "id", "messages", "conversations", "instruction", "role", "content", "x"])


def read_or_refuse(data: bytes, suffix: str) -> Table | WhichwayError:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), f"a{suffix}", data)
        try:
            return read_table(path)
        except WhichwayError as error:
            assert error.problem and error.fix
            return error


@QUICK
@given(BYTES, SUFFIXES)
def test_any_bytes_give_a_table_or_a_whichway_error(data: bytes, suffix: str) -> None:
    read = read_or_refuse(data, suffix)
    assert isinstance(read, WhichwayError) or len(read.rows) == len(read.lines) > 0


@QUICK
@given(st.lists(st.dictionaries(KEYS, JSON, max_size=4), min_size=1, max_size=4), st.booleans())
def test_any_json_gives_a_table_or_a_whichway_error(rows: list[dict[str, object]], as_array: bool) -> None:
    text = json.dumps(rows) if as_array else "".join(json.dumps(row) + "\n" for row in rows)
    read_or_refuse(text.encode("utf-8", "surrogatepass"), ".json" if as_array else ".jsonl")


CELL = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=20) | st.sampled_from(
    ['"', "\n", ",", "a\r\nb"]
)


@QUICK
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6))
def test_what_the_csv_module_writes_is_read_back(rows: list[tuple[str, str]]) -> None:
    import csv
    import io

    made = io.StringIO(newline="")
    writer = csv.writer(made, quoting=csv.QUOTE_ALL)
    writer.writerows([("one", "two"), *rows])
    read = read_or_refuse(made.getvalue().encode(), ".csv")
    assert isinstance(read, Table), read
    assert [(row["one"], row["two"]) for row in read.rows] == rows
