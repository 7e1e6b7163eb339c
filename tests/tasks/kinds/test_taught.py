"""What a teacher says of windows: cached, read back, combined, and given to students that cut words otherwise."""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch.nn import functional as F

from stillhouse.answers.windows import OUTSIDE
from stillhouse.text.wordpiece import train_wordpiece
from stillhouse.training.batches import collate
from stillhouse.training.losses import NO_OUTCOME
from tasks.kinds.find import load_task
from tasks.phases.held_out import of_rows
from tasks.phases.logit_targets import cached_logits, combined, with_logits
from tests import tiny


@pytest.fixture
def task(clone):
    return load_task(Path("data/task"))


def said(task, folder="models/teacher"):
    encoded = task.kind.encode(task.train, tiny.tokenizer())
    return encoded, cached_logits(encoded, task.kind, Path(folder), tiny.tokenizer(), 8)


def test_a_window_learns_the_logits_that_the_teacher_gives_it(task, capsys):
    teacher = task.kind.load(Path("models/teacher"))
    for times in range(2):  # computed, then from the cache
        encoded, logits = said(task)
        taught = with_logits(encoded, logits)
        for i in (0, 5, len(taught) - 1):
            row = taught[i]
            types = torch.tensor([row["token_type_ids"]])
            with torch.no_grad():
                outputs = teacher(input_ids=torch.tensor([row["input_ids"]]), token_type_ids=types)
            for got, wanted in zip(row["teacher_logits"], (outputs.start_logits, outputs.end_logits), strict=True):
                assert got == pytest.approx(wanted[0].tolist(), abs=1e-5)
        assert ("computing the teacher's logits" in capsys.readouterr().out) is (times == 0)


def test_a_batch_has_the_teachers_distributions_and_no_padding_in_them(task):
    encoded, logits = said(task)
    rows = with_logits(encoded, logits)
    batch = collate([rows[i] for i in (0, 1, len(rows) - 1)], 0)
    theirs = task.kind.taught(batch)
    assert theirs.shape == (6, batch["input_ids"].shape[1])
    for place, i in enumerate((0, 1, len(rows) - 1)):
        length = rows[i]["length"]
        assert theirs[place, :length].tolist() == pytest.approx(logits[i][0].tolist(), abs=1e-6)
        assert theirs[place + 3, :length].tolist() == pytest.approx(logits[i][1].tolist(), abs=1e-6)
        assert (theirs[place, length:] == NO_OUTCOME).all()


def test_several_teachers_are_combined_row_by_row(clone, task):
    tiny.save(tiny.answerer(layers=3, seed=7), clone / "models/second")
    encoded, one = said(task)
    other = said(task, "models/second")[1]
    mean = combined([one, other], lambda logits: logits.mean(0))
    assert all(np.allclose(both, (a + b) / 2) for both, a, b in zip(mean, one, other, strict=True))
    route = combined([one, other], lambda logits: logits.swapaxes(0, 1))  # (2, K, L) each
    batch = collate([with_logits(encoded, route)[i] for i in range(3)], 0)
    anchors = task.kind.taught(batch)
    assert anchors.shape[:2] == (6, 2)
    assert anchors[3, 1, : len(other[0][1])].tolist() == pytest.approx(other[0][1].tolist(), abs=1e-6)


def test_held_out_questions_take_all_their_windows_along(task):
    encoded = task.kind.encode(task.train, tiny.tokenizer())
    rows = np.array([0, 3, 4])
    held, rest = of_rows(encoded, rows), of_rows(encoded, np.setdiff1d(np.arange(len(task.train)), rows))
    assert set(held["row"]) == {0, 3, 4} and not set(rest["row"]) & {0, 3, 4}
    assert len(held) + len(rest) == len(encoded) and len(held) > 3


def test_a_student_of_another_vocabulary_is_taught_the_teachers_answers_at_its_own_tokens(task):
    """The likeliest place by the teacher is the same character of the context, whoever cuts it."""
    theirs = tiny.tokenizer()
    ours = train_wordpiece(task.train["context"][:], theirs, 44)
    read = task.kind.for_teacher(task.train, ours, theirs)
    windows = task.kind.windows(task.train, ours)
    assert len(read.encoded) == len(windows) and windows["input_ids"][:] != read.encoded["input_ids"][:]
    # A teacher that knows: it points at the words of the answer that its window holds, else at [CLS].
    logits, wanted = [], []
    for i, ids in enumerate(read.encoded["input_ids"][:]):
        spot = 3 + i % (len(ids) - 4)
        each = np.full((2, len(ids)), -9.0, dtype=np.float32)
        each[:, spot] = 9.0
        logits.append(each)
        wanted.append(theirs.convert_ids_to_tokens(ids[spot]))
    seen = 0
    for i, got in enumerate(read.aligned(logits)):
        window = windows[i]
        assert got.shape == (2, len(window["input_ids"]))
        start, end = got.argmax(axis=1)
        if window["starts"][start] == OUTSIDE or wanted[i] in theirs.all_special_tokens:
            continue  # it pointed at the question, or past the context: nothing of that is an answer
        context = task.train[window["row"]]["context"]
        assert context[window["starts"][start] : window["ends"][end]] == wanted[i]
        total = F.softmax(torch.from_numpy(got), -1)
        assert torch.allclose(total.sum(-1), torch.ones(2)) and total[0, start] > 0.99
        seen += 1
    assert seen > len(windows) / 3


def test_texts_of_classes_are_given_to_the_teacher_in_its_own_pieces(tmp_path):
    tiny.write_task(tmp_path / "data/task")
    from tests.tasks import project

    project.params(tmp_path)
    task = load_task(tmp_path / "data/task", tmp_path / "params.yaml")
    theirs = tiny.tokenizer()
    ours = train_wordpiece(task.train["text"][:], theirs, 44)
    read = task.kind.for_teacher(task.train, ours, theirs)
    assert read.encoded["input_ids"][:] == task.kind.encode(task.train, theirs)["input_ids"][:]
    logits = np.ones((len(task.train), 2), dtype=np.float32)
    assert read.aligned(logits) is logits
    assert isinstance(with_logits(task.kind.encode(task.train, ours), logits), Dataset)
