"""What measures scale keeps what it measured, and says of a command what that used and nobody else."""

import sys
from pathlib import Path

import pytest

from benchmarks.scales.book import Book, line, measured, table


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    def never() -> dict[str, float]:
        raise AssertionError("measured twice")

    assert Book(tmp_path / "book.json").of("one", lambda: {"seconds": 1.5}) == {"seconds": 1.5}
    assert Book(tmp_path / "book.json").of("one", never) == {"seconds": 1.5}


def test_the_peak_of_a_command_is_its_own_and_not_that_of_who_started_it(tmp_path: Path) -> None:
    ours = bytearray(300 * 2**20)
    small = measured([sys.executable, "-c", "pass"], tmp_path, {})
    large = measured([sys.executable, "-c", "bytearray(b'x' * (200 * 2**20))"], tmp_path, {})
    assert len(ours) > 300 * 10**6 and small["peak"] < 100 * 2**20 < 200 * 2**20 < large["peak"]


def test_a_command_that_fails_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit 1: no such thing"):
        measured([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path, {})


def test_a_line_goes_on_as_it_began_and_a_table_is_markdown() -> None:
    assert line([10, 30], [25.0, 65.0]) == pytest.approx((2.0, 5.0))
    assert list(table(["a", "b"], [["x", "1"]])) == ["| a | b |", "| -- | --: |", "| x | 1 |"]
