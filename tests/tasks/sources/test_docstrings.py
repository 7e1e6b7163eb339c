import re
import sys
from pathlib import Path

import pytest

from stillhouse.errors import InputError
from tasks.sources.builtin.docstrings import distinct, draw, find_library, is_held_out, read_pools

WORDS = (4, 40)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two installed packages that cannot be imported, with 40 sentences each and one in common."""
    for name, things in (("distil_a", "copper still"), ("distil_b", "oak cask")):
        own = "\n\n".join(f"Every {things} of row {number} stands in the yard." for number in range(40))
        folder = tmp_path / name
        (folder / "tests").mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
        shared = "Both of the libraries say this very sentence."
        (folder / "own.py").write_text(f'"""{own}"""\nclass A:\n    def f(self):\n        """{shared}"""\n')
        (folder / "broken.py").write_text('"""A file that is no Python has no sentences at all."""\ndef (:\n')
        (folder / "tests" / "test_own.py").write_text('"""The tests of a library are not read by us."""\n')
        (folder / "other.py").write_text(f'"""This sentence of {name} is about its own name."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_sentences_of_two_libraries_are_found_without_importing_them(packages: Path) -> None:
    pools = read_pools(["distil_a", "distil_b"], 1000, 1000, WORDS)
    assert [pool.library for pool in pools] == ["distil_a", "distil_b"]
    for pool in pools:
        found = [*pool.open, *pool.held_out]
        assert len(found) == 42
        assert "This sentence of library is about its own name." in found
        assert not any("tests" in sentence or "no Python" in sentence for sentence in found)
        assert pool.files_read == pool.files == 4
        assert pool.library not in sys.modules


def test_a_sentence_in_two_libraries_belongs_to_neither(packages: Path) -> None:
    pools = distinct(read_pools(["distil_a", "distil_b"], 1000, 1000, WORDS))
    a, b = ({*pool.open, *pool.held_out} for pool in pools)
    assert not a & b
    assert "Both of the libraries say this very sentence." not in a | b
    assert len(a) == len(b) == 40  # the one about its own name reads the same once masked


def test_held_out_and_open_sentences_are_told_apart_by_the_sentence_alone(packages: Path) -> None:
    alone = read_pools(["distil_a"], 1000, 1000, WORDS)[0]
    together = read_pools(["distil_b", "distil_a"], 1000, 1000, WORDS)[1]
    assert (alone.open, alone.held_out) == (together.open, together.held_out)
    assert alone.held_out
    assert all(map(is_held_out, alone.held_out))
    assert not any(map(is_held_out, alone.open))


def test_files_are_read_until_there_are_enough_sentences(packages: Path) -> None:
    pool = read_pools(["distil_a"], 1, 0, WORDS)[0]
    assert pool.open
    assert pool.files_read < pool.files


def test_sentences_of_the_wrong_length_are_left_out(packages: Path) -> None:
    pool = read_pools(["distil_a"], 1000, 1000, (9, 10))[0]
    lengths = {len(sentence.split()) for sentence in [*pool.open, *pool.held_out]}
    assert lengths <= {9, 10}
    assert lengths


def test_a_draw_depends_on_the_seed_and_not_on_the_order() -> None:
    sentences = [f"Sentence {number}." for number in range(50)]
    assert draw(sentences, 10, seed=1) == draw(sentences[::-1], 10, seed=1)
    assert draw(sentences, 10, seed=1) != draw(sentences, 10, seed=2)
    assert draw(sentences, 60, seed=1) == draw(sentences, 50, seed=1)


@pytest.mark.parametrize("name", ["no_such_library", "scikit-learn", "errno", "argparse", "numpy.linalg"])
def test_what_is_no_installed_package_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"library '{name}' is not installed"):
        find_library(name)


def test_real_libraries_give_enough_natural_sentences() -> None:
    pools = distinct(read_pools(["numpy", "pandas"], 100, 25, (8, 40)))
    for pool in pools:
        assert len(pool.open) > 90
        assert len(pool.held_out) > 20
        assert pool.files_read < pool.files
        assert not any(re.search(r"\b(numpy|pandas|np|pd)\b", sentence, re.IGNORECASE) for sentence in pool.open)
