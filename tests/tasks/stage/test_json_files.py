"""JSON between stages: what is missing or damaged is named with its remedy, and what is written ends with a newline."""

from pathlib import Path

import pytest

from stillhouse.errors import InputError
from tasks.stage.json_files import read_json, write_json


@pytest.mark.parametrize(
    ("content", "fault"), [(None, "is missing"), (b"{", "is damaged"), (b"\xff", "is damaged")], ids=str
)
def test_a_fault_names_the_file_and_what_to_do(tmp_path: Path, content: bytes | None, fault: str) -> None:
    file = tmp_path / "figures.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=rf"figures\.json' {fault}.*: evaluate again$"):
        read_json(file, "evaluate again")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"kept": 0.5})
    assert (tmp_path / "a.json").read_text() == '{\n  "kept": 0.5\n}\n'
    assert read_json(tmp_path / "a.json", "") == {"kept": 0.5}
