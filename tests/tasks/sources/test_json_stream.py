"""A list of a JSON file, an element at a time, is the list that Python reads whole; so are the faults."""

import json
import random
import tracemalloc
from pathlib import Path

import pytest

from stillhouse.errors import InputError
from tasks.sources import json_stream
from tasks.sources.json_stream import elements

HARD = [
    *('"\\ud83d\\ude00 \\" ] , }"', '"\\ud83d"', "1e5", "-0.25E-3", "12345678901234567890", "true", "null", "NaN"),
    *("-Infinity", "[]", "{}", '{"a": [1, {"b": "]"}], "c": ""}', '"é☃😀"', "0"),
]


def write(folder: Path, text: str) -> Path:
    file = folder / "a.json"
    file.write_text(text, encoding="utf-8", newline="")
    return file


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 16])
@pytest.mark.parametrize("key", [None, "data"])
def test_it_reads_what_python_reads_wherever_the_chunks_end(
    chunk: int, key: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    draw = random.Random(chunk)
    for _ in range(40):
        values = [draw.choice(HARD) for _ in range(draw.randrange(8))]
        space = draw.choice(["", " ", "\n", "\r\n\t "])
        text = f"[{space}{f'{space},{space}'.join(values)}{space}]"
        if key:
            text = f'{space}{{"version": [1.5, {{}}],{space}"data"{space}:{space}{text},{space}"more": 1e9}}{space}'
        whole = json.loads(text)
        found = list(elements(write(tmp_path, text), key))
        assert repr(found) == repr(whole[key] if key else whole)  # NaN is not equal to itself


@pytest.mark.parametrize("chunk", [1, 5, 1 << 16])
@pytest.mark.parametrize(
    "text",
    [
        *('[{"said": "x"},\n {"said": ]', "[1,\n2", "[1 2]", "[1,]", "[,1]", '["a\nb"]', "[1]\n\n3", "[truf]", "[-]"),
        *("[1e]", '["\\x"]', '[{"a" 1}]', "[{1: 2}]", "[1, 2}"),
    ],
)
def test_what_python_refuses_is_refused_with_the_line(
    text: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    with pytest.raises(json.JSONDecodeError) as whole:
        json.loads(text)
    with pytest.raises(InputError, match=rf"a\.json, line {whole.value.lineno}: not valid JSON: ") as found:
        list(elements(write(tmp_path, text)))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[1]", TypeError),
        ("3", TypeError),
        ('{"data": {}}', TypeError),
        ('{"Data": []}', KeyError),
        ("{}", KeyError),
    ],
)
def test_another_shape_is_the_readers_to_explain(text: str, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error):
        list(elements(write(tmp_path, text), "data"))


@pytest.mark.parametrize("text", ['{"data": [], 1: 2}', '{"data" []}', '{"data": [] "b": 1}', '{"data": [],}', "{"])
def test_a_broken_object_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json, line 1: not valid JSON"):
        list(elements(write(tmp_path, text), "data"))


def test_a_byte_order_mark_is_no_part_of_it_and_other_letters_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b"\xef\xbb\xbf[1]")
    assert list(elements(file)) == [1]
    file.write_bytes('["é"]'.encode("latin-1"))
    with pytest.raises(InputError, match=r"not UTF-8 text .byte 0xe9"):
        list(elements(file))


@pytest.mark.parametrize("newline", ["", "\n"])
def test_the_file_is_not_held_in_memory(newline: str, tmp_path: Path) -> None:
    row = json.dumps({"text": "a good film " * 8, "label": 1})
    file = write(tmp_path, f"[{f',{newline}'.join([row] * 40_000)}]")
    assert file.stat().st_size > 4_000_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in elements(file)) == 40_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_500_000
