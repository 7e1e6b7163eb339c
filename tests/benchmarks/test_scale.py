"""What measures scale keeps what it measured."""

from pathlib import Path

import pytest

from benchmarks.scales.book import Book, line, table


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    def never() -> dict[str, float]:
        raise AssertionError("measured twice")

    assert Book(tmp_path / "book.json").of("one", lambda: {"seconds": 1.5}) == {"seconds": 1.5}
    assert Book(tmp_path / "book.json").of("one", never) == {"seconds": 1.5}


def test_a_line_goes_on_as_it_began_and_a_table_is_markdown() -> None:
    assert line([10, 30], [25.0, 65.0]) == pytest.approx((2.0, 5.0))
    assert list(table(["a", "b"], [["x", "1"]])) == ["| a | b |", "| -- | --: |", "| x | 1 |"]
