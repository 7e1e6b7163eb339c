import re
from typing import Literal

import pytest
from pydantic import Field

from stillhouse.errors import InputError
from tasks.stage.params import Block, load


class Inner(Block):
    rate: float = Field(gt=0)


class Example(Block):
    inner: Inner
    count: int
    kind: Literal["a", "b"]


GOOD = "example:\n  inner: {rate: 5e-5}\n  count: 3\n  kind: a\n"


def test_a_block_is_read_as_yaml_1_2_so_5e_5_is_a_number(tmp_path):
    (tmp_path / "params.yaml").write_text(GOOD)
    assert load("example", Example, tmp_path / "params.yaml").inner.rate == 5e-5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("count: 3", "count: '3'", "example.count = '3': Input should be a valid integer"),
        ("count: 3", "count: 3\n  cuont: 4", "example.cuont = 4 is not a known key"),
        ("  count: 3\n", "", "example.count is missing"),
        ("5e-5", "-1.0", "example.inner.rate = -1.0: Input should be greater than 0"),
        ("kind: a", "kind: c", "example.kind = 'c': Input should be 'a' or 'b'"),
        ("example:", "sample:", "block 'example' is missing"),
        ("kind: a", "kind: [a", "not valid YAML"),
    ],
)
def test_each_fault_names_key_and_value_in_one_line(tmp_path, old, new, message):
    file = tmp_path / "params.yaml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=re.escape(message)) as error:
        load("example", Example, file)
    assert str(file) in str(error.value) and "\n" not in str(error.value)


def test_several_faults_are_all_named(tmp_path):
    (tmp_path / "params.yaml").write_text("example: {inner: {rate: 0.0}, count: 1}")
    with pytest.raises(InputError, match=r"inner\.rate = 0\.0.*kind is missing"):
        load("example", Example, tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load("example", Example, tmp_path / "none.yaml")


def test_blocks_are_frozen(tmp_path):
    (tmp_path / "params.yaml").write_text(GOOD)
    with pytest.raises(ValueError, match="frozen"):
        load("example", Example, tmp_path / "params.yaml").count = 4
