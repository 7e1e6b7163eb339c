import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillhouse.errors import InputError
from tasks.sources.files import read_table
from tasks.sources.split import pick

ROWS = [{"said": 'the "good" one', "mood": "1"}, {"said": "plain, with a comma", "mood": "0"}]
COLUMNS = {"text": "said", "label": "mood"}


def as_tsv(file: Path) -> None:
    file.write_text("\ufeffsaid\tmood\n" + "".join(f"{row['said']}\t{row['mood']}\n" for row in ROWS), encoding="utf-8")


def as_csv(file: Path) -> None:
    file.write_text('said,mood\n"the ""good"" one",1\n"plain, with a comma",0\n')


def as_jsonl(file: Path) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def as_json(file: Path) -> None:
    file.write_text(json.dumps(ROWS, indent=1))


def as_parquet(file: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), file)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.tsv", as_tsv),
        ("a.csv", as_csv),
        ("a.jsonl", as_jsonl),
        ("a.json", as_json),
        ("lines.json", as_jsonl),
        ("a.parquet", as_parquet),
        ("A.TSV", as_tsv),
        ("a.ndjson", as_jsonl),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    table = read_table(tmp_path / name)
    assert [dict(row) for _, row in table.rows()] == ROWS
    assert [dict(row) for _, row in table.rows()] == ROWS  # a second pass starts anew


def test_text_is_kept_but_for_white_space_around_it(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("said\tmood\n  Two  spaces, and CASE \t1\n")
    assert [row["text"] for _, row in pick(read_table(tmp_path / "a.tsv"), COLUMNS).rows()] == ["Two  spaces, and CASE"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", "x", "unknown format '.xlsx'"),
        ("a.tsv", "said\tmood\nfine\t1\nhalf\n", "line 3: 1 fields where 2 are expected"),
        ("a.tsv", "said\tlabel\nfine\t1\n", "no column 'mood': it has said, label"),
        ("a.tsv", "said\tmood\n \t1\n", "line 2: column 'said' has no text"),
        ("a.csv", 'said,mood\n"never closed,1\n', "line 2: unexpected end of data"),
        ("a.jsonl", '{"said": "x", "mood": 1}\n{"said": \n', "line 2: not valid JSON"),
        ("a.ndjson", f'{{"said": {"9" * 5000}}}\n', "line 1: not valid JSON by itself .Exceeds the limit"),
        ("a.jsonl", "[" * 100_000 + "\n", "line 1: not valid JSON by itself .maximum recursion depth"),
        ("a.json", "[" * 100_000, "a.json: not valid JSON: maximum recursion depth"),
        ("a.jsonl", '{"said": "x"}\n', "line 1: no column 'mood': it has said"),
        ("a.jsonl", '{"said": null, "mood": 1}\n', "line 1: column 'said' has no text"),
        ("a.jsonl", '{"said": NaN, "mood": 1}\n', "line 1: column 'said' has no text"),
        ("a.jsonl", '{"said": 5, "mood": 1}\n', "line 1: column 'said' is 5, not text"),
        ("a.jsonl", "[1, 2]\n", "line 1: a list where an object"),
        ("a.json", '[{"said": "x", "mood": 1},\n {"said": ]', "line 2: not valid JSON"),
        ("a.json", "[3]", "row 1: a int where an object"),
        ("a.parquet", "PAR1 and then nothing of the kind", "not a readable Parquet file"),
        ("a.tsv", b"said\tmood\ncaf\xe9\t1\n", r"not UTF-8 text \(byte 0xe9\)"),
    ],
)
def test_a_damaged_file_is_named_with_the_place(tmp_path: Path, name: str, content: Any, message: str) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        list(pick(read_table(file), COLUMNS).rows())
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    with pytest.raises(InputError, match=r"train\.tsv' is missing: the folder has train\.csv"):
        read_table(tmp_path / "train.tsv")
    with pytest.raises(InputError, match="no such folder"):
        read_table(tmp_path / "nowhere" / "train.tsv")


def test_a_tsv_whose_quotes_were_meant_to_quote_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.tsv").write_text('said\tmood\n"he said ""no"""\t1\n"yes"\t0\n')
    rows = [row["said"] for _, row in read_table(tmp_path / "a.tsv").rows()]
    assert rows == ['"he said ""no"""', '"yes"'], "quotes are text"
    assert "1 lines have a field in quotes with doubled quotes in it" in capsys.readouterr().out
