"""Questions about a docstring's parameters: what is found in it, and what is not."""

from pathlib import Path

from tasks.sources.builtin.parameters import Parameter, parameters, questions_of, read_questions, write_context

STILL = """Distil a wash.

    Parameters
    ----------
    wash : array_like of shape (n,)
        The wash, in litres. It has to be
        `fermented`.
    cuts, heads : int, default: 2
        How often the run is cut.
    oak
        Whether the cask is of oak. Default is True.
    **options
        Passed on.

    Returns
    -------
    spirit : float
        What comes out.
"""
BY_HAND = [
    Parameter(("wash",), "array_like of shape (n,)", "The wash, in litres. It has to be fermented."),
    Parameter(("cuts", "heads"), "int, default: 2", "How often the run is cut."),
    Parameter(("oak",), "", "Whether the cask is of oak. Default is True."),
    Parameter(("options",), "", "Passed on."),
]


def module(folder: Path, *docstrings: str) -> Path:
    file = folder / "still.py"
    functions = [f'def f{i}():\n    """{text}"""\n' for i, text in enumerate(docstrings)]
    file.write_text("raise RuntimeError('imported')\n" + "\n".join(functions))
    return file


def asked(file: Path, most_words: int = 100) -> dict[str, str | None]:
    """Question → the answer, None where there is none."""
    rows = list(questions_of(file, most_words))
    for row in rows:
        for text, at in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
            assert row["context"][at : at + len(text)] == text
    return {row["question"]: next(iter(row["answers"]["text"]), None) for row in rows}


def test_a_section_ends_at_the_next_and_its_entries_keep_names_types_and_descriptions() -> None:
    assert parameters(STILL) == BY_HAND


def test_docstrings_without_such_a_section_or_in_another_style_have_none() -> None:
    assert parameters("Distil.\n\nArgs:\n    wash: the wash.\n") == []
    assert parameters("Parameters\n----------\nwash : int\n    It.\nAnd then some prose, of all things.\n") == []
    assert parameters("Parameters\n----------\nwash : int\n    %(wash_doc)s\n") == []
    assert parameters("") == []


def test_the_context_is_the_section_as_text() -> None:
    assert write_context(BY_HAND[1:3]) == (
        "cuts, heads : int, default: 2\nHow often the run is cut.\noak\nWhether the cask is of oak. Default is True."
    )


def test_it_is_asked_what_a_parameter_is_its_type_and_its_default(tmp_path: Path) -> None:
    assert asked(module(tmp_path, STILL)) == {
        "What is `wash`?": "The wash, in litres",
        "What type is `wash`?": "array_like of shape (n,)",
        "What is `cuts`?": "How often the run is cut",
        "What type is `cuts`?": "int, default: 2",
        "What is the default of `cuts`?": "2",
        "What is `heads`?": "How often the run is cut",
        "What type is `heads`?": "int, default: 2",
        "What is the default of `heads`?": "2",
        "What is `oak`?": "Whether the cask is of oak",
        "What is the default of `oak`?": "True",
        "What is `options`?": "Passed on",
    }


def test_what_has_no_answer_asks_for_a_parameter_of_another_docstring_of_the_module(tmp_path: Path) -> None:
    other = "Age.\n\n    Parameters\n    ----------\n    years : int\n        Time in the wash of oak.\n    "
    file = module(tmp_path, STILL, other)
    for row in questions_of(file, 100):
        name = row["question"].split("`")[1]
        named = name in row["context"].replace(",", " ").split()
        assert named == bool(row["answers"]["text"]), row
    absent = {row["question"].split("`")[1] for row in questions_of(file, 100) if not row["answers"]["text"]}
    assert "years" in absent
    # They stand in the description of `years`, so whether they are parameters the context does not say.
    assert not {"wash", "oak"} & absent


def test_contexts_that_are_too_long_are_left_out(tmp_path: Path) -> None:
    assert asked(module(tmp_path, STILL), most_words=20) == {}


def test_a_real_library_gives_questions_of_all_kinds_without_being_imported() -> None:
    need = {(split, there): 20.0 for split in ("train", "validation") for there in (True, False)}
    pool = read_questions("numpy", need, 60)
    assert pool.files_read < pool.files
    for (_, there), rows in pool.questions.items():
        assert len(rows) >= 20
        assert all(bool(row["answers"]["text"]) == there for row in rows)
        assert len({row["id"] for row in rows}) == len(rows)
        assert all(len(row["context"].split()) <= 60 for row in rows)
