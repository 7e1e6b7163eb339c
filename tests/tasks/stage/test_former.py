"""Blocks of before have one clear line, in the first stage of all."""

import pytest

from tasks import code
from tasks.stage.former import FORMER
from tests.tasks import project
from tests.tasks.project import refused


@pytest.mark.parametrize("block", FORMER)
def test_a_block_that_question_answering_had_says_where_it_is_now(block, tmp_path, monkeypatch, capsys):
    project.enter(tmp_path, monkeypatch)
    project.params(tmp_path, **{block: {"max_length": 64}})
    line = refused(capsys, code, "--out", "code")
    assert f"params.yaml: block '{block}' is now {FORMER[block]}" in line
    assert not (tmp_path / "code").exists()
