"""Labels as text, and their order where nothing states one."""

import pytest

from stillhouse.encoders.label_names import label_order, label_text, names_in, sorted_labels
from stillhouse.errors import InputError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1.0", "1"),
        ("-2.00 ", "-2"),
        ("1.5", "1.5"),
        (-0.0, "0"),
        ("v1.0", "v1.0"),
        (True, "True"),
        (" a b ", "a b"),
    ],
)
def test_a_label_is_one_text_however_it_is_written(value: object, text: str) -> None:
    assert label_text(value) == text


def test_letters_have_one_form() -> None:
    assert label_text("cafe\u0301") == label_text("café") == "caf\u00e9"


@pytest.mark.parametrize(
    "wanted",
    [
        [f"LABEL_{i}" for i in range(12)],
        [str(i) for i in range(-1, 12)],
        ["0.5", "2", "10.5", "11"],
        ["Bad", "good", "so-so"],
        ["a1b", "a2b", "a10b"],
        ["a10", "b2"],
        ["a01", "a1", "a2"],
        ["c" + "9" * 5000, "c1" + "0" * 5000],
    ],
)
def test_what_is_numbered_is_in_the_order_of_its_numbers(wanted: list[str]) -> None:
    assert sorted_labels(wanted[::-1]) == wanted


def test_names_that_are_the_datas_are_matched_by_name_even_if_they_look_like_nobodys() -> None:
    data = ("LABEL_1", "LABEL_0", "LABEL_2")
    assert label_order(data, ("LABEL_0", "LABEL_1", "LABEL_2")) == [1, 0, 2]
    assert label_order(("no", "so", "yes"), ("LABEL_0", "LABEL_1", "LABEL_2")) == [0, 1, 2]


@pytest.mark.parametrize(
    ("id2label", "names"),
    [
        ({1: "bad", 2: "good"}, ("bad", "good")),
        ({"0": 0, "1": 1}, ("0", "1")),
        ({0: False, 1: True}, ("False", "True")),
        ({str(i): f"c{i}" for i in reversed(range(11))}, tuple(f"c{i}" for i in range(11))),
    ],
)
def test_the_outputs_of_a_model_have_names_in_their_order(id2label: dict, names: tuple[str, ...]) -> None:
    assert names_in(id2label) == names


@pytest.mark.parametrize("id2label", [True, "bad", ["bad", "good"], {"bad": 0, "good": 1}])
def test_names_of_no_output_are_refused(id2label: object) -> None:
    with pytest.raises(InputError, match=r"id2label = .*: a mapping from each output's number to its name is expected"):
        names_in(id2label)
