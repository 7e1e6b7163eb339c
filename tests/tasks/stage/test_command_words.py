"""A parameter that is a word of a stage's command reaches its program as that word, or is refused before any runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import InputError
from tasks import code
from tasks.stage.command_words import command_words, refuse_words
from tasks.stage.outside import value_at
from tasks.stage.params import read_yaml
from tests.tasks import project
from tests.tasks.project import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def changed(clone: Path, key: str, value: Any) -> dict[str, Any]:
    tree = json.loads(json.dumps(read_yaml(clone / "params.yaml")))  # what is merged in several places is one object
    *path, last = key.split(".")
    place = tree
    for part in path:
        place = place[part]
    place[last] = value
    return tree


KEYS = sorted({key for _, key, _ in command_words(read_yaml(ROOT / "dvc.yaml"), read_yaml(ROOT / "params.yaml"))})
KEYS = [key for key in KEYS if not key.startswith("dvc.yaml")]


@pytest.mark.parametrize("key", KEYS)
def test_every_word_of_a_command_is_looked_at(clone: Path, key: str) -> None:
    assert len(KEYS) > 10
    bad = "a; touch b"
    listed = isinstance(value_at(read_yaml(ROOT / "params.yaml"), key), dict)  # a stage runs for each of its keys
    with pytest.raises(InputError, match=rf"{key} = '{bad}': it is a word of the command of stage "):
        refuse_words(changed(clone, key, {bad: {}} if listed else bad), clone)


@pytest.mark.parametrize(
    "value",
    [
        *("my data/x", "it's", 'a"b', "$HOME/x", "a;b", "a&b", "a|b", "`a`", "a\nb", "a*", "~/x", "-rf", "#a", "(a)"),
        *("a\\b", "", None, True, ["a"], {"a": "b"}),
    ],
)
def test_what_a_shell_would_read_as_more_than_a_word_is_refused(clone: Path, value: Any) -> None:
    with pytest.raises(InputError, match=r"int8\.quantize\.source = "):
        refuse_words(changed(clone, "int8.quantize.source", value), clone)


@pytest.mark.parametrize("value", ["models/teacher", "../x_1.parquet", "/mnt/données/a+b=c,d:e@f%g", "C:/x", 7])
def test_a_plain_word_passes(clone: Path, value: Any) -> None:
    refuse_words(changed(clone, "int8.quantize.source", value), clone)


@pytest.mark.parametrize("ensemble", [{"one; two": {"seed": 1}}, {"one": {"seed": "$(id)"}}])
def test_an_ensembles_names_and_seeds_are_words_too(clone: Path, ensemble: dict) -> None:
    with pytest.raises(InputError, match=r"ensemble = .*stage 'ensemble'"):
        refuse_words(changed(clone, "ensemble", ensemble), clone)


def test_the_first_stage_refuses_it_in_one_line(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = changed(clone, "hinton.distill.rows", "x; touch ran")
    (clone / "params.yaml").write_text(json.dumps(tree))
    monkeypatch.chdir(clone)
    assert "hinton.distill.rows = 'x; touch ran'" in project.refused(capsys, code, "--out", "code")
    assert not Path("code").exists()
