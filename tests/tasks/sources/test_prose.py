import pytest

from tasks.sources.prose import is_natural, name_pattern, paragraphs, sentences, split_sentences

NUMPYDOC = """Return the running sum of an array along one axis.

    The sum starts anew for each slice, e.g. for every row [1]_. See [2]_ for a relative of :func:`numpy.cumprod`.

    Parameters
    ----------
    a : array_like
        The values that are summed up, which may be of any type.
    axis : int, optional
        Axis along which the sum runs; by default over the flattened array.

    .. versionadded:: 1.7

        Nobody needs to read that this was added then.

    .. note:: NumPy arrays of integers wrap around without any warning at all.

    For example::

        total = np.cumsum(a)
        This line is code however much it looks like prose.

    >>> np.cumsum([1, 2])
    This line is the output of the example above here.

    ====== ======
    left   right
    ====== ======

    References
    ----------
    .. [1] A. Author wrote a book of sums that nobody should learn from.
    """

GOOGLE = """Scores every token of the input with the model's head.

    Args:
        hidden (`torch.FloatTensor` of shape `(batch, length)`):
            Hidden states that the last layer of the encoder gave.
        mask (Tensor): Which of the tokens are real ones and which are padding.

    ```python
    This fenced line is code and must never become a sentence.
    ```

    Examples:
        This is about an example and would be out of place here.
    """


def found(docstring: str, *libraries: str) -> list[str]:
    return list(sentences(docstring, name_pattern(list(libraries or ["numpy"]))))


def test_prose_of_a_numpydoc_docstring_is_kept_and_its_tables_code_and_references_are_not() -> None:
    assert found(NUMPYDOC) == [
        "Return the running sum of an array along one axis.",
        "The sum starts anew for each slice, e.g. for every row.",
        "The values that are summed up, which may be of any type.",
        "Axis along which the sum runs; by default over the flattened array.",
        "library arrays of integers wrap around without any warning at all.",
    ]


def test_descriptions_of_google_style_arguments_are_sentences() -> None:
    assert found(GOOGLE, "torch") == [
        "Scores every token of the input with the model's head.",
        "Hidden states that the last layer of the encoder gave.",
        "Which of the tokens are real ones and which are padding.",
    ]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("NumPy and np.array", "library and library.array"),
        ("sklearn, scikit-learn and torch.nn", "library, library and library.nn"),
        ("the __torch_function__ protocol", "the __library_function__ protocol"),
        ("Hugging Face transformers", "library library"),
        ("a TorchDynamo of ProxyTorch", "a libraryDynamo of Proxylibrary"),
        ("a stnp and npx are other words", "a stnp and npx are other words"),
    ],
)
def test_library_names_are_masked_wherever_they_stand_as_a_word(text: str, masked: str) -> None:
    assert name_pattern(["numpy", "sklearn", "torch", "transformers"]).sub("library", text) == masked


def test_a_sentence_ends_at_a_full_stop_but_not_after_an_abbreviation() -> None:
    text = "It works, e.g. For lists. See Fig. 3 there! Is J. Doe here? (Yes.) Done"
    assert list(split_sentences(text)) == [
        "It works, e.g. For lists.",
        "See Fig. 3 there!",
        "Is J. Doe here?",
        "(Yes.)",
        "Done",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no capital at the start.",
        "No full stop at the end",
        "Calls f(x) on it.",
        "The formula is explained in.",
        "See https://example.org for more.",
        "An open ( bracket here.",
        "1 2 3 4 5.",
    ],
)
def test_what_is_no_sentence_is_refused(text: str) -> None:
    assert not is_natural(text)


def test_a_wrapped_paragraph_is_one_line() -> None:
    assert list(paragraphs("One line\nand another.\n\n- a point\n  that wraps\n- a second")) == [
        "One line and another.",
        "a point",
        "that wraps",
        "a second",
    ]
