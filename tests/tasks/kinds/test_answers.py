"""Answers from their questions to the report, at a tiny size: what is written, resumed and refused."""

import csv
import json
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForQuestionAnswering

from stillhouse.encoders.checkpoint import load_model
from tasks import evaluate, export, finetune, report
from tasks.evaluation.rows import read_rows
from tasks.evaluation.squad_metrics import compute
from tasks.kinds.find import load_task
from tests import tiny
from tests.tasks import project
from tests.tasks.kinds.conftest import params
from tests.tasks.project import refused, run

TEACHER = (finetune, "--data", "data/task", "--out", "models/made")
EXPORT = (export, "--kind", "answers", "--model", "models/teacher", "--out", "models/onnx/teacher")
EVALUATE = (evaluate, "teacher", "--data", "data/task", "--model", "models/teacher")
EVALUATE = (*EVALUATE, "--onnx", "models/onnx/teacher", "--out", "reports/teacher")
STUDENT = (evaluate, "hinton", "--data", "data/task", "--model", "models/hinton", "--onnx", "models/onnx/hinton")
STUDENT = (*STUDENT, "--teacher", "reports/teacher", "--teacher-onnx", "models/onnx/teacher", "--out", "reports/hinton")


def read(name: str) -> dict:
    return json.loads(Path(name).read_text())


@pytest.fixture
def evaluated(clone) -> dict:
    """A teacher of random weights, exported and evaluated; its metrics.json."""
    run(*EXPORT)
    run(*EVALUATE)
    return read("reports/teacher/metrics.json")


def test_a_teacher_learns_its_questions_by_heart(clone):
    for split in ("train", "validation"):
        Dataset.from_list(tiny.questions(24)).to_parquet(f"data/task/{split}.parquet")
        tiny.state_kind(clone / f"data/task/{split}.parquet", "answers")
    phase = {"epochs": 60, "batch_size": 8, "learning_rate": 3e-3, "seed": 1}
    whole = {"kinds.answers.max_length": 32, "train.checkpoint_steps": 500}
    params(clone, **{"teacher.phase": phase, "teacher.floor": 0.9, **whole})
    run(*TEACHER)


def test_a_teacher_that_was_interrupted_ends_with_the_same_weights(clone, monkeypatch):
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, TEACHER, step=4)


def test_the_metrics_are_those_of_the_answers_that_are_written(clone, evaluated):
    questions = load_task(Path("data/task")).validation
    assert (evaluated["kind"], evaluated["split"], evaluated["examples"]) == ("answers", "validation", len(questions))
    assert evaluated["onnx_max_difference"] < 1e-4
    answers, odds, best = (read(f"reports/teacher/details/{name}.json") for name in ("answers", "null_odds", "n_best"))
    assert list(answers) == list(odds) == list(best) == questions["id"][:]
    texts = [best[id_][0]["text"] for id_ in answers]
    scores = compute(
        [each["text"] for each in questions["answers"]], list(answers.values()), texts, list(odds.values())
    )
    assert scores == pytest.approx(evaluated["metrics"], abs=1e-6)
    assert len(set(texts)) > 5  # not one answer to all
    for id_, text in answers.items():
        assert text == ("" if odds[id_] > 0 else best[id_][0]["text"])
    with Path("reports/teacher/predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["predicted"] for row in rows] == ["answer" if text else "no answer" for text in answers.values()]
    assert sum(row["actual"] == "no answer" for row in rows) == len(questions) / 3
    files = [file for file in Path("reports/teacher").rglob("*.*") if file.name != "latency.json"]
    before = {file: file.read_bytes() for file in files}
    run(*EVALUATE)
    assert len(files) == 7 and all(file.read_bytes() == content for file, content in before.items())


def test_what_the_model_is_served_with_is_what_it_was_evaluated_with(clone, evaluated):
    served = read("reports/teacher/details/served.json")
    numbers = {"max_length": 16, "overlap": 4, "question_length": 5, "null_threshold": 0.0, "max_answer_length": 40}
    assert served == {
        **{"kind": "answers", "split": "validation", "columns": ["question", "context"]},
        **{"numbers": numbers, "judged_by": numbers},
    }


def test_a_question_is_answered_if_its_odds_are_not_above_the_threshold(clone, evaluated):
    odds = sorted(read("reports/teacher/details/null_odds.json").values())
    for threshold, given in ((odds[0] - 1, 0), ((odds[8] + odds[9]) / 2, 9), (odds[-1] + 1, 18)):
        params(clone, **{"kinds.answers.null_threshold": threshold})
        run(*EVALUATE)
        assert sum(map(bool, read("reports/teacher/details/answers.json").values())) == given


def test_a_student_is_measured_and_shown_with_its_teacher(clone, evaluated):
    tiny.save(tiny.answerer(layers=1, seed=1), clone / "models/hinton")
    run(export, "--kind", "answers", "--model", "models/hinton", "--out", "models/onnx/hinton")
    run(*STUDENT)
    student, times = read("reports/hinton/metrics.json"), read("reports/hinton/latency.json")
    assert list(student) == [*evaluated, "budget"]
    assert student["kept"] == pytest.approx(student["value"] / evaluated["value"], abs=1e-5)
    assert student["flops"] < evaluated["flops"] and times["teacher"] != times["batches"]
    run(report, "reports/teacher", "reports/hinton", "--out", "page")
    page = Path("page/report.md").read_text()
    assert f"| hinton | {student['value']:.4f} | {student['kept']:.1%} |" in page
    assert "| has_answer_f1 |" in page and Path("page/report.png").stat().st_size > 1000


def test_windows_point_at_the_answer_or_at_cls_and_say_whose_they_are(clone):
    task = load_task(Path("data/task"))
    rows, places = (make(task.train, tiny.tokenizer()) for make in (task.kind.encode, task.kind.windows))
    assert len(rows) == len(places) > len(task.train)
    assert set(rows.column_names) == {"input_ids", "token_type_ids", "start", "end", "row", "length"}
    answered = set()
    for row, place in zip(rows, places, strict=True):
        question = task.train[place["row"]]
        if row["start"]:
            text = question["context"][place["starts"][row["start"]] : place["ends"][row["end"]]]
            assert [text] == question["answers"]["text"]
            answered.add(place["row"])
        else:
            assert row["end"] == 0
    assert answered == {i for i, each in enumerate(task.train["answers"]) if each["text"]}


def test_rows_without_answers_have_windows_and_no_places(clone):
    task = load_task(Path("data/task"))
    rows = task.kind.encode(task.train.remove_columns("answers"), tiny.tokenizer())
    assert set(rows.column_names) == {"input_ids", "token_type_ids", "row", "length"}


def test_shorter_rows_than_a_window_needs_are_made_as_short_as_can_be(clone):
    task = load_task(Path("data/task"))
    assert max(task.kind.encode(task.train, tiny.tokenizer(), 1)["length"]) == 5 + 4 + 3 + 1
    assert max(task.kind.encode(task.train, tiny.tokenizer(), 500)["length"]) == 16


def test_a_fine_tuned_model_is_only_scored(clone):
    model = tiny.answerer(seed=5)
    tiny.save(model, clone / "mine")
    params(clone, **{"teacher.model": "mine", "teacher.phase": None})
    run(*TEACHER)
    teacher = load_model(clone / "models/made", AutoModelForQuestionAnswering)
    assert torch.equal(teacher.qa_outputs.weight, model.qa_outputs.weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher.phase": None}, "teacher.phase = null, but 'start' is not fine-tuned to answer questions"),
        ({"teacher.floor": 1.0}, "the teacher's f1 is 0."),
        ({"kinds.answers.max_length": 9}, "kinds.answers: max_length (9) has no room for question_length (5)"),
        ({"kinds.answers.max_length": 65}, "kinds.answers.max_length = 65: 'start' takes 64: lower it"),
        (
            {"evaluate.metric": "accuracy"},
            "evaluate.metric = 'accuracy' does not fit this task (answers): choose exact",
        ),
        ({"kinds.answers.max_answer_length": 0}, "kinds.answers.max_answer_length = 0"),
        ({"teacher.phase.learning_rate": 1e30}, "the loss is not finite at step"),
    ],
)
def test_bad_numbers_are_refused_in_one_line_and_nothing_is_written(clone, capsys, changes, message):
    params(clone, **changes)
    assert message in refused(capsys, *TEACHER)
    assert not (clone / "models/made").exists()


def test_what_does_not_fit_together_is_refused(clone, capsys, evaluated):
    tiny.save(tiny.bert(), clone / "models/hinton")
    assert "'models/hinton' is a BertForSequenceClassification, answers want" in refused(capsys, *STUDENT)
    tiny.save(tiny.answerer(layers=1), clone / "models/hinton")
    assert "models/onnx/hinton/model.onnx' is missing" in refused(capsys, *STUDENT)
    params(clone, **{"evaluate.metric": "exact"})
    assert "is of f1, evaluate.metric = 'exact': evaluate the teacher again" in refused(capsys, *STUDENT)
    params(clone)
    tiny.save(tiny.bert(), clone / "other")
    run(export, "--kind", "classes", "--model", "other", "--out", "models/onnx/teacher")
    assert "has the outputs ['logits'], not ['start_logits', 'end_logits']" in refused(capsys, *EVALUATE)


def test_a_window_longer_than_the_model_takes_is_refused_before_it_is_scored(clone, capsys, evaluated):
    params(clone, **{"kinds.answers.max_length": 65})
    assert "kinds.answers.max_length = 65: 'models/teacher' takes 64: lower it" in refused(capsys, *EVALUATE)


def test_a_context_without_a_word_is_scored_as_having_no_answer(clone):
    rows = tiny.questions(6)
    rows[1] |= {"context": "\u200d", "answers": {"text": [], "answer_start": []}}  # which the tokenizer leaves out
    Dataset.from_list(rows).to_parquet("data/task/validation.parquet")
    run(*EXPORT)
    run(*EVALUATE)
    kept = read_rows(Path("reports/teacher/details/rows.csv"), "evaluate again")
    assert kept["null_odds"][1] == 1e9 and kept["exact"][1] == 1


def test_an_empty_split_is_named(clone, capsys):
    Dataset.from_list(tiny.questions(1)).select([]).to_parquet("data/task/validation.parquet")
    assert "'data/task/validation.parquet' has no rows" in refused(capsys, *TEACHER)
