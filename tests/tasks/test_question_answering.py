"""Question answering from its questions to the report, at a tiny size: what is written, resumed and refused."""

import csv
import json
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForQuestionAnswering

from stillhouse.encoders.checkpoint import load_model
from tasks import evaluate, export, finetune_qa, prepare, report
from tasks.data.questions import load_questions, windows_to_answer, windows_to_train
from tasks.evaluation.squad_metrics import compute
from tasks.stage.params import WindowParams, load
from tests import tiny
from tests.tasks import project
from tests.tasks.project import refused, run

WINDOWS = {"max_length": 16, "overlap": 4, "question_length": 5}
TEACHER = (finetune_qa, "--data", "data/qa", "--out", "models/teacher-qa")
EXPORT = (export, "--model", "models/teacher-qa", "--out", "models/onnx/teacher-qa")
EVALUATE = (evaluate, "teacher-qa", "--data", "data/qa", "--model", "models/teacher-qa")
EVALUATE = (*EVALUATE, "--onnx", "models/onnx/teacher-qa", "--out", "reports/teacher-qa")
STUDENT = (evaluate, "structured-qa", "--data", "data/qa", "--model", "models/structured-qa")
STUDENT = (*STUDENT, "--onnx", "models/onnx/structured-qa", "--teacher", "reports/teacher-qa")
STUDENT = (*STUDENT, "--teacher-onnx", "models/onnx/teacher-qa", "--out", "reports/structured-qa")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    params(tmp_path)
    tiny.write_questions(tmp_path / "data/qa")
    tiny.save(tiny.bert(layers=2).bert, tmp_path / "start")
    return tmp_path


def params(folder: Path, **changes: object) -> None:
    project.params(folder, **{"teacher-qa.model": "start", "windows": WINDOWS, **changes})


def read(name: str) -> dict:
    return json.loads(Path(name).read_text())


def evaluated(folder: Path) -> dict:
    """A teacher of random weights, exported and evaluated; its metrics.json."""
    tiny.save(tiny.answerer(seed=1), folder / "models/teacher-qa")
    run(*EXPORT)
    run(*EVALUATE)
    return read("reports/teacher-qa/metrics.json")


@pytest.mark.parametrize("source", ["docstrings", "files"])
def test_questions_become_a_teacher_its_onnx_file_and_its_report(clone, source):
    folder = clone / "squad"
    folder.mkdir()
    for name, seed in (("train", 3), ("dev", 4)):
        paragraphs = [
            {
                "context": row["context"],
                "qas": [
                    {
                        "id": row["id"],
                        "question": row["question"],
                        "answers": [
                            {"text": text, "answer_start": at}
                            for text, at in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
                        ],
                        "is_impossible": not row["answers"]["text"],
                    }
                ],
            }
            for row in tiny.questions(24, seed)
        ]
        (folder / f"{name}.json").write_text(json.dumps({"data": [{"title": "films", "paragraphs": paragraphs}]}))
    params(clone, **{"qa.source": source, "qa.files.folder": str(folder)})
    run(prepare, "qa", "--out", "data/qa")
    run(*TEACHER)
    run(*EXPORT)
    run(*EVALUATE)
    figures = read("reports/teacher-qa/metrics.json")
    questions = load_questions(clone / "data/qa").validation
    assert figures["examples"] == len(questions) == (12 if source == "docstrings" else 24)
    assert figures["onnx_max_difference"] < 1e-4
    assert 0 <= figures["value"] == figures["metrics"]["f1"] <= figures["metrics"]["best_f1"] <= 1


def test_a_teacher_learns_its_questions_by_heart(clone):
    for split in ("train", "validation"):
        Dataset.from_list(tiny.questions(24)).to_parquet(f"data/qa/{split}.parquet")
    phase = {"epochs": 60, "batch_size": 8, "learning_rate": 3e-3, "seed": 1}
    whole = {"max_length": 32, "overlap": 4, "question_length": 5}
    params(
        clone, **{"teacher-qa.phase": phase, "windows": whole, "teacher-qa.floor": 0.9, "train.checkpoint_steps": 500}
    )
    run(*TEACHER)


def test_a_teacher_that_was_interrupted_ends_with_the_same_weights(clone, monkeypatch):
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, TEACHER, step=4)


def test_the_metrics_are_those_of_the_answers_that_are_written(clone):
    figures = evaluated(clone)
    questions = load_questions(clone / "data/qa").validation
    answers, odds = read("reports/teacher-qa/answers/answers.json"), read("reports/teacher-qa/answers/null_odds.json")
    best = read("reports/teacher-qa/answers/n_best.json")
    assert list(answers) == list(odds) == list(best) == questions["id"][:]
    texts = [best[id_][0]["text"] for id_ in answers]
    scores = compute(
        [each["text"] for each in questions["answers"]], list(answers.values()), texts, list(odds.values())
    )
    assert scores == pytest.approx(figures["metrics"], abs=1e-6)
    assert len(set(texts)) > 5  # not one answer to all
    for id_, text in answers.items():
        assert text == ("" if odds[id_] > 0 else best[id_][0]["text"])
    with Path("reports/teacher-qa/predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["predicted"] for row in rows] == ["answer" if text else "no answer" for text in answers.values()]
    assert sum(row["actual"] == "no answer" for row in rows) == len(questions) / 3


def test_metrics_and_answers_are_the_same_each_time(clone):
    evaluated(clone)
    names = [*Path("reports/teacher-qa/answers").iterdir(), Path("reports/teacher-qa/metrics.json")]
    before = [name.read_bytes() for name in names]
    run(*EVALUATE)
    assert before == [name.read_bytes() for name in names]


def test_a_question_is_answered_if_its_odds_are_not_above_the_threshold(clone):
    evaluated(clone)
    odds = sorted(read("reports/teacher-qa/answers/null_odds.json").values())
    for threshold, given in ((odds[0] - 1, 0), ((odds[8] + odds[9]) / 2, 9), (odds[-1] + 1, 18)):
        params(clone, **{"evaluate-qa.null_threshold": threshold})
        run(*EVALUATE)
        assert sum(map(bool, read("reports/teacher-qa/answers/answers.json").values())) == given


def test_a_student_is_measured_and_shown_with_its_teacher(clone):
    teacher = evaluated(clone)
    tiny.save(tiny.answerer(layers=1, seed=1), clone / "models/structured-qa")
    run(export, "--model", "models/structured-qa", "--out", "models/onnx/structured-qa")
    run(*STUDENT)
    student, times = read("reports/structured-qa/metrics.json"), read("reports/structured-qa/latency.json")
    assert list(student) == [*teacher, "budget"]
    assert student["kept"] == pytest.approx(student["value"] / teacher["value"], abs=1e-5)
    assert student["flops"] < teacher["flops"] and times["teacher"] != times["batches"]
    run(report, "reports/teacher-qa", "reports/structured-qa", "--out", "reports/structured-qa")
    page = Path("reports/structured-qa/report.md").read_text()
    assert f"| structured-qa | {student['value']:.4f} | {student['kept']:.1%} |" in page
    assert "| has_answer_f1 |" in page and Path("reports/structured-qa/report.png").stat().st_size > 1000


def test_windows_to_train_on_point_at_the_answer_or_at_cls(clone):
    questions = load_questions(clone / "data/qa").train
    numbers = load("windows", WindowParams)
    rows, places = (make(questions, tiny.tokenizer(), numbers) for make in (windows_to_train, windows_to_answer))
    assert len(rows) == len(places) > len(questions)
    answered = set()
    for row, place in zip(rows, places, strict=True):
        question = questions[place["example"]]
        if row["start"]:
            text = question["context"][place["starts"][row["start"]] : place["ends"][row["end"]]]
            assert [text] == question["answers"]["text"]
            answered.add(place["example"])
        else:
            assert row["end"] == 0
    assert answered == {i for i, each in enumerate(questions["answers"]) if each["text"]}


def test_a_fine_tuned_model_is_only_scored(clone):
    model = tiny.answerer(seed=5)
    tiny.save(model, clone / "mine")
    params(clone, **{"teacher-qa.model": "mine", "teacher-qa.phase": None})
    run(*TEACHER)
    teacher = load_model(clone / "models/teacher-qa", AutoModelForQuestionAnswering)
    assert torch.equal(teacher.qa_outputs.weight, model.qa_outputs.weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher-qa.phase": None}, "teacher-qa.phase = null, but 'start' is not fine-tuned to answer questions"),
        ({"teacher-qa.floor": 1.0}, "the teacher's f1 is 0."),
        ({"windows.max_length": 10}, "windows.max_length = 10 has no room for a question of 5 tokens"),
        ({"windows.max_length": 65}, "windows.max_length = 65: the model takes 64: lower it"),
        ({"evaluate-qa.metric": "accuracy"}, "evaluate-qa.metric = 'accuracy': Input should be 'exact', 'f1'"),
        ({"evaluate-qa.max_answer_length": 0}, "evaluate-qa.max_answer_length = 0"),
        ({"teacher-qa.phase.learning_rate": 1e30}, "the loss is not finite at step"),
    ],
)
def test_bad_numbers_are_refused_in_one_line_and_nothing_is_written(clone, capsys, changes, message):
    params(clone, **changes)
    assert message in refused(capsys, *TEACHER)
    assert not (clone / "models/teacher-qa").exists()


def test_what_does_not_fit_together_is_refused(clone, capsys):
    evaluated(clone)
    tiny.write_task(clone / "data/task")
    other = [word if word != "data/qa" else "data/task" for word in EVALUATE]
    assert "'data/task' holds no questions" in refused(capsys, *other)
    tiny.save(tiny.bert(), clone / "models/structured-qa")
    params(clone, **{"evaluate.metric": "f1"})
    assert "'data/qa' holds question answering" in refused(capsys, *STUDENT)
    tiny.save(tiny.answerer(layers=1), clone / "models/structured-qa")
    assert "models/onnx/structured-qa/model.onnx' is missing" in refused(capsys, *STUDENT)
    params(clone, **{"evaluate-qa.metric": "exact"})
    assert "is of f1, evaluate-qa.metric = 'exact': evaluate the teacher again" in refused(capsys, *STUDENT)
    run(export, "--model", "models/structured-qa", "--out", "models/onnx/structured-qa")
    tiny.save(tiny.bert(), clone / "models/teacher-qa")
    run(*EXPORT)
    tiny.save(tiny.answerer(), clone / "models/teacher-qa")
    assert "has the outputs ['logits'], not ['start_logits', 'end_logits']" in refused(capsys, *EVALUATE)


def test_an_empty_split_is_named(clone, capsys):
    Dataset.from_list(tiny.questions(1)).select([]).to_parquet("data/qa/validation.parquet")
    assert "'data/qa/validation.parquet' has no rows" in refused(capsys, *TEACHER)
