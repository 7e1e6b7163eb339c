"""Data, checkpoints and recipes of another kind than data.kind: one line each, before anything trains."""

from pathlib import Path

import pytest
from transformers import AutoModelForMultipleChoice

from stillhouse.errors import InputError
from tasks import (
    augment_words,
    code,
    evaluate,
    export,
    factorize,
    finetune,
    prepare,
    prune,
    structured,
    task_phase,
    trim,
)
from tasks.kinds.find import kind_class, kind_names, load_task
from tests import tiny
from tests.tasks import project
from tests.tasks.project import refused

DATA = ("--data", "data/task")
PROGRAMS = {
    "task_phase": (task_phase, "hinton", *DATA, "--teacher", "models/teacher", "--out", "out"),
    "prune": (prune, "magnitude", *DATA, "--teacher", "models/teacher", "--out", "out"),
    "structured": (structured, "structured", "--phase", "gates", *DATA, "--teacher", "models/teacher", "--out", "out"),
    "factorize": (factorize, "lowrank", *DATA, "--teacher", "models/teacher", "--out", "out"),
    "trim": (trim, "trim", *DATA, "--model", "models/teacher", "--corpus", "data/task", "--out", "out"),
    "evaluate": (evaluate, "teacher", *DATA, "--model", "models/teacher", "--onnx", "models/onnx", "--out", "out"),
}
FINETUNE = (finetune, *DATA, "--out", "out")
EXPORT = (export, "--kind", "classes", "--model", "models/teacher", "--out", "out")


@pytest.fixture
def classes(tmp_path, monkeypatch) -> Path:
    project.enter(tmp_path, monkeypatch)
    return tmp_path


@pytest.mark.parametrize("name", [*PROGRAMS, "finetune"])
def test_data_of_another_kind_are_refused(classes, capsys, name):
    tiny.write_questions(classes / "data/task")  # and params.yaml says classes
    line = refused(capsys, *PROGRAMS.get(name, FINETUNE))
    assert "'data/task' holds answers, data.kind = 'classes': prepare it again" in line
    assert not Path("out").exists()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_teacher_of_another_kind_is_refused(classes, capsys, name):
    tiny.save(tiny.answerer(layers=4), classes / "models/teacher")
    line = refused(capsys, *PROGRAMS[name])
    assert "'models/teacher' is a BertForQuestionAnswering, classes want a model …ForSequenceClassification" in line
    assert not Path("out").exists()


@pytest.mark.parametrize("phase", [None, {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "seed": 1}])
def test_a_model_that_was_fine_tuned_to_another_kind_is_no_start(classes, capsys, phase):
    tiny.save(tiny.answerer(), classes / "mine")
    project.params(classes, **{"teacher.model": "mine", "teacher.phase": phase})
    assert "'mine' is a BertForQuestionAnswering, classes want a model" in refused(capsys, *FINETUNE)


def test_an_export_of_another_kind_is_refused(classes, capsys):
    tiny.save(tiny.answerer(), classes / "models/teacher")
    assert "'models/teacher' is a BertForQuestionAnswering, classes want" in refused(capsys, *EXPORT)
    assert not Path("out").exists()


def test_an_unknown_kind_is_named_with_those_there_are(classes, capsys):
    project.params(classes, **{"data.kind": "clases"})
    line = refused(capsys, prepare, "task", "--out", "out")
    known = "answers, classes, multi-label, scores, tokens"
    assert f"data.kind = 'clases' is not one of {known}: check its spelling" in line
    assert "data.kind = '../x' is not one of" in refused(capsys, export, "--kind", "../x", *EXPORT[3:])


def test_data_that_state_no_kind_are_prepared_again(classes, capsys):
    from pyarrow import parquet

    file = Path("data/task/train.parquet")
    parquet.write_table(parquet.read_table(file).replace_schema_metadata(None), file)
    assert "does not say which kind of task it is: prepare it again (dvc repro prepare)" in refused(capsys, *FINETUNE)


def test_a_recipe_says_why_it_does_not_do_a_kind_before_anything_is_read(classes, capsys, monkeypatch):
    words = type("Words", (kind_class("classes"),), {"name": "words", "auto": AutoModelForMultipleChoice})
    words.head = "ForMultipleChoice"
    monkeypatch.setattr("tasks.phases.recipe.kind_class", lambda name: words)
    project.params(classes, **{"data.kind": "words"})
    line = refused(capsys, augment_words, "bilstm", "--data", "nowhere", "--out", "out")
    assert "recipe 'bilstm' does not do data.kind = 'words': there is no BiLSTM of class …ForMultipleChoice" in line


def test_every_kind_is_found_by_its_name_and_has_numbers_in_params():
    import json

    assert kind_names() == ["answers", "classes", "multi-label", "scores", "tokens"]
    for name in kind_names():
        kind = kind_class(name)
        assert kind.name == name
        own = {"answers": {"max_length": 128}, "tokens": {"max_length": 96}}
        longest, key = kind.longest(json.loads(json.dumps({"train": {"max_length": 64}, "kinds": own})))
        assert longest == own.get(name, {"max_length": 64})["max_length"]
        assert key == (f"kinds.{name}.max_length" if name in own else "train.max_length")


def test_a_task_has_a_test_split_where_its_file_is_there(classes):
    assert load_task(Path("data/task")).test is None
    tiny.write_task(classes / "other", validation=5)
    (classes / "other/validation.parquet").rename(classes / "data/task/test.parquet")
    assert len(load_task(Path("data/task")).test) == 5


def test_the_first_stage_writes_the_code_of_every_kind(classes):
    assert code.is_kind(Path(project.ROOT / "tasks/kinds/answers.py"))
    assert not code.is_kind(Path(project.ROOT / "tasks/kinds/contract.py"))


def test_the_first_stage_refuses_a_kind_that_has_no_file():
    known = code.kinds(project.ROOT)
    assert list(known) == ["answers", "classes", "multi-label", "scores", "tokens"]
    code.check_kind({"data": {"kind": "answers"}}, known)
    with pytest.raises(
        InputError, match=r"data\.kind = .class. is not one of answers, classes, multi-label, scores, tokens: check"
    ):
        code.check_kind({"data": {"kind": "class"}}, known)
    for damaged in ({"data": {"kind": ["classes"]}}, {"data": {"kind": {}}}, {"data": {}}, {"data": ["classes"]}):
        with pytest.raises(InputError, match=r"data(\.kind)? = "):
            code.check_kind(damaged, known)
