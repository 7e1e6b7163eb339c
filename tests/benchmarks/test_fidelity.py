"""The paper checks: what is trained, once, and what the page says of it."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset
from filelock import FileLock, Timeout

from benchmarks import fidelity, trainings
from benchmarks.claims import Claim, Relation, albert_order, as_given
from benchmarks.claims.hinton_missing_class import recalled
from benchmarks.fidelity_page import drawable, page_text, write_page
from benchmarks.held_out import read_task
from benchmarks.lab import Lab
from benchmarks.set_up import Numbers, SetUp
from benchmarks.trainings import Setting, Training
from tests import tiny
from tests.tasks.project import ROOT

TRUTH = np.array([0, 1] * 50)
ONCE = Numbers(epochs=1, batch_size=8)


class Memory:
    """A lab without models: what a variant gives is what was predicted."""

    truth = TRUTH
    task = SimpleNamespace(sentences=list(range(100)))

    def outcome(self, name, make):
        return np.array(make())


def claim(*variants: np.ndarray, **relation) -> Claim:
    makers = {str(i): lambda lab, seed, given=given: given.tolist() for i, given in enumerate(variants)}
    return Claim("x", "0 > 1", makers, [Relation("0", "1", **relation)])


def flipped(count: int) -> np.ndarray:
    given = TRUTH.copy()
    given[:count] = 1 - given[:count]
    return given


def result(*wrong: int, **relation) -> dict:
    """As it stands in a claim's JSON file."""
    found = fidelity.check(claim(*map(flipped, wrong), **relation), Memory(), [1, 2])
    numbers = {"epochs": 3.0, "learning_rate": 1e-4}
    set_up = {"rows": 10, "numbers": numbers, "teacher_rows": 20, "teacher": numbers}
    made = {"data": "sst2", "judged": "100 rows", "set_up": set_up, "hardware": "a machine", "date": "2026-11-23"}
    return json.loads(json.dumps(found | made))


def test_a_claim_has_the_scores_of_every_seed_and_its_verdict():
    found = result(5, 40)
    assert found["verdict"] == "holds" and found["seeds"] == [1, 2]
    assert found["variants"]["1"] == {"mean": 0.6, "seeds": [0.6, 0.6]}
    assert fidelity.line("x", found).startswith("x: holds: 0 − 1 = +0.350 [+0.2")


def test_where_nothing_can_be_told_the_effect_that_would_have_been_seen_is_named():
    found = result(10, 11)
    seen = found["relations"][0]["would_be_seen"]
    assert fidelity.line("x", found).endswith(f"(cannot be told: {seen:.3f} would have been seen)")
    assert f"| cannot be told: {seen:.3f} would have been seen |" in page_text([found], {}, None)


def test_what_is_measured_of_other_things_than_the_judged_rows_has_no_sentences():
    makers = {"0": lambda lab, seed: [1.0, 2.0, 4.0], "1": lambda lab, seed: [0.0, 0.0, 0.0]}
    found = fidelity.check(Claim("x", "", makers, [Relation("0", "1")], score=as_given), Memory(), [1])
    assert found["relations"][0]["difference"] == pytest.approx(7 / 3)


def test_recall_of_the_missing_class_counts_its_rows_alone():
    scores = recalled(np.array([1, 1, 0]), np.array([1, 0, 1]))
    assert scores[[0, 2]].tolist() == [1.0, 0.0] and np.isnan(scores[1])


def test_the_page_has_a_row_for_each_relation_with_the_papers_own_difference():
    page = page_text([result(5, 40, paper=0.02, source="another task")], {"x": "Why."}, "x.png")
    assert "| `x` | 0 (0.950) above 1 (0.600) | +0.02 (another task) | +0.350 (+0.2" in page
    assert "| `x` | 10 × 3, 0.0001 | 20 × 3, 0.0001 | sst2: 100 rows | 2 | a machine | 2026-11-23 |" in page
    assert "](x.png)" in page and "**x**: Why." in page and "## One seed" not in page


def test_margins_and_likeness_stand_on_the_page():
    assert "like 1 (0.890) within 0.1 |" in page_text([result(9, 11, alike=True, margin=0.1)], {}, None)
    assert "above 1 (0.890) less 0.1 |" in page_text([result(9, 11, margin=0.1)], {}, None)


def test_results_of_one_seed_stand_apart_as_they_were_judged():
    relation = {"better": "0", "worse": "1", "difference": 0.35, "noise": 0.08, "verdict": "within noise"}
    variants = {"0": {"mean": 0.95}, "1": {"mean": 0.6}}
    made = {"data": "sst2", "rows": 2000, "epochs": 3.0, "hardware": "a machine", "date": "2026-11-23", "seeds": [1]}
    former = {"slug": "y", "measure": "accuracy", "relations": [relation], "variants": variants, **made}
    page = page_text([result(5, 40), former], {}, None)
    above, below = page.split("## One seed")
    assert "`x`" in above and "`y`" not in above
    assert "| `y` | 0 (0.950) above 1 (0.600) | +0.350 ± 0.080 | within noise | accuracy |" in below
    assert "| `y` | sst2 | 2000 × 3 | 1 | a machine | 2026-11-23 |" in below
    assert drawable([former]) == []


def test_page_and_picture_are_made_of_the_files_alone_and_alike(tmp_path):
    folder = tmp_path / "checks"
    folder.mkdir()
    for name, wrong in (("a", (5, 40)), ("b", (10, 11))):
        (folder / f"{name}.json").write_text(json.dumps(result(*wrong, paper=0.1, source="z") | {"slug": name}))
    page = write_page(folder)
    first = page.read_bytes(), (tmp_path / "checks.png").read_bytes()
    assert first[1].startswith(b"\x89PNG") and b"](checks.png)" in first[0]
    assert write_page(folder) == page
    assert (page.read_bytes(), (tmp_path / "checks.png").read_bytes()) == first


def test_the_committed_page_is_that_of_the_committed_files():
    folder = ROOT / "docs/results/fidelity"
    results = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    remarks = {file.stem: file.read_text().strip() for file in sorted(folder.glob("*.md"))}
    picture = "fidelity.png" if drawable(results) else None
    assert folder.with_suffix(".md").read_text() == page_text(results, remarks, picture)


@pytest.fixture
def data(tmp_path):
    for name, count, seed in (("train", 64, 1), ("dev", 24, 2)):
        texts, labels = tiny.sentences(count, seed)
        lines = [f"{text}\t{label}" for text, label in zip(texts, labels, strict=True)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")
    tiny.save(tiny.bert(layers=4).bert, tmp_path / "start")
    return tmp_path


@pytest.fixture
def lab(data):
    set_up = SetUp(rows=32, numbers=ONCE, teacher_rows=48, teacher=ONCE, sentences=10)
    return lambda: Lab(read_task(data, 0), data / "start", None, data / "work", set_up)


def test_the_teacher_is_trained_once_on_its_own_rows_and_its_route_ends_with_it(lab, capsys):
    route = lab().route()
    assert "--- teacher of 48 rows, seed 1" in capsys.readouterr().out
    again = lab()
    assert len(route) == 4 and len(again.rows) == 32
    assert (again.logits(again.teacher(), again.judged) == again.logits(route[-1], again.judged)).all()
    assert "--- teacher" not in capsys.readouterr().out


def test_what_a_kill_left_half_made_is_made_anew(lab, monkeypatch):
    place = lab()

    def dies(model, step, rows, *, callbacks, **_):
        callbacks[0].save(callbacks[0].stops[0])
        raise KeyboardInterrupt

    def trains(model, step, rows, *, callbacks, **_):
        assert not callbacks[0].stops[0].exists()
        for stop in callbacks[0].stops:
            callbacks[0].save(stop)

    monkeypatch.setattr(place, "fit", dies)
    with pytest.raises(KeyboardInterrupt):
        place.route()
    monkeypatch.setattr(place, "fit", trains)
    assert len(place.route()) == 4


def test_more_rows_than_the_task_has_are_refused(data):
    with pytest.raises(SystemExit, match="65 rows to train on, of 64: lower --rows, or --test"):
        Lab(read_task(data, 0), data / "start", None, data / "work", SetUp(rows=10, teacher_rows=65))


def test_a_variant_does_not_go_on_where_another_one_ended(lab):
    place = lab()
    one, other = (place.predictions(place.fine_tune(place.bare(seed), 1)) for seed in (1, 2))
    alone = lab()
    assert alone.predictions(alone.fine_tune(alone.bare(2), 1)) == other
    assert len(one) == len(other) == 24


def test_what_a_variant_predicted_is_kept(lab):
    first = lab()
    given = first.outcome("hinton/a-1", lambda: first.predictions(first.fine_tune(first.bare(), 1)))
    assert given.shape == (24,)
    again = lab()
    assert (again.outcome("hinton/a-1", lambda: pytest.fail("it was run again")) == given).all()


def test_a_model_that_several_variants_share_is_trained_once(lab):
    place = lab()
    first = place.kept("hinton/model", place.bare)
    assert place.kept("hinton/model", lambda: pytest.fail("it was trained again")) == first
    assert (first / "model.safetensors").is_file()


def test_another_set_up_has_outcomes_of_its_own_and_the_same_teacher(lab, data):
    one = lab()
    other = Lab(one.task, one.source, None, data / "work", SetUp(rows=16, numbers=ONCE, teacher_rows=48, teacher=ONCE))
    assert one.place("hinton/a-1") != other.place("hinton/a-1")
    assert one.place("hinton/a-1").parent != one.place("rco/a-1").parent
    assert one.shared == other.shared


def test_what_another_process_makes_is_not_made_beside_it(lab):
    place = lab()
    file = place.place("hinton/a-1")
    file.parent.mkdir(parents=True)
    with FileLock(file.with_name(f".{file.name}.lock")), pytest.raises(Timeout):
        place.outcome("hinton/a-1", lambda: pytest.fail("it was made"), wait=False)
    assert place.outcome("hinton/a-1", lambda: [1]).tolist() == [1]


@pytest.fixture
def setting(data, monkeypatch):
    """Trainings of two variants, of which one always says 0, by a claim that is not there otherwise."""
    made = []

    def variant(answer):
        return lambda lab, seed: made.append((answer, seed)) or [answer] * 24

    own = Claim("hinton", "0 > 1", {"0": variant(0), "1": variant(1)}, [Relation("0", "1")])
    monkeypatch.setattr(trainings, "load_claim", lambda slug: own)
    trainings.lab_of.cache_clear()
    yield Setting(data, 0, data / "start", None, data / "work", rows=16, epochs=1.0), made
    trainings.lab_of.cache_clear()


def test_only_the_trainings_that_miss_are_made_in_any_order(setting, capsys):
    setting, made = setting
    wanted = trainings.trainings(["hinton"], [1, 2])
    assert [each.name for each in wanted] == ["hinton/0-1", "hinton/1-1", "hinton/0-2", "hinton/1-2"]
    trainings.make_all(setting, wanted[2:3], 1)
    trainings.make_all(setting, wanted[::-1], 1)
    assert made == [(0, 2), (1, 2), (1, 1), (0, 1)]
    assert "1 of 4 trainings are made" in capsys.readouterr().out
    trainings.make_all(setting, wanted, 1)
    assert len(made) == 4


def test_what_another_command_is_making_comes_last(setting, monkeypatch):
    setting, made = setting
    busy = [Training("hinton", "0", 1)]
    once = trainings.make

    def make(setting, wait, training):
        return bool(wait or training not in busy) and once(setting, wait, training)

    monkeypatch.setattr(trainings, "make", make)
    trainings.make_all(setting, trainings.trainings(["hinton"], [1]), 1)
    assert made == [(1, 1), (0, 1)]


def test_a_command_changes_rows_and_passes_of_all_claims_for_a_try(data):
    own = trainings.load_claim("hinton")
    changed = trainings.set_up_of(Setting(data, 0, data, None, data, rows=16, epochs=0.5), own)
    assert (changed.rows, changed.teacher_rows, changed.numbers.epochs) == (16, 16, 0.5)
    assert changed.numbers.learning_rate == own.set_up.numbers.learning_rate
    assert trainings.set_up_of(Setting(data, 0, data, None, data), own) == own.set_up


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_train_what_one_does_and_the_command_writes_the_page(data, monkeypatch):
    tiny.save(tiny.bert(layers=6).bert, data / "start")
    found = []
    for jobs in ("1", "2"):
        out = data / jobs
        words = ["hinton", "--test", "0", "--rows", "24", "--epochs", "0.3", "--seeds", "1", "--jobs", jobs]
        paths = {"--data": data, "--teacher": data / "start", "--work": data / f"work-{jobs}", "--out": out}
        monkeypatch.setattr(sys, "argv", ["fidelity", *words, *(str(part) for pair in paths.items() for part in pair)])
        fidelity.main()
        found.append(json.loads((out / "hinton.json").read_text()))
        assert "| `hinton` |" in out.with_suffix(".md").read_text()
    assert found[0]["variants"] == found[1]["variants"] and set(found[0]["variants"]) == {"hard", "distilled"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name claims, or give --all, or --page"),
        (["hinton", "--all"], "name claims, or give --all, or --page"),
        (["hintn"], "no claim 'hintn': one of albert,"),
        (["hinton"], "--data is missing"),
        (["hinton", "--data", "d", "--seeds", "0"], "--seeds 0 is less than 1"),
    ],
)
def test_a_command_that_asks_for_nothing_that_there_is_is_refused(monkeypatch, capsys, words, message):
    monkeypatch.setattr(sys, "argv", ["fidelity", *words])
    with pytest.raises(SystemExit) as left:
        fidelity.main()
    assert left.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize("slug", trainings.slugs())
def test_every_claim_names_variants_that_it_has(slug):
    claim = trainings.load_claim(slug)
    assert claim.slug == slug and claim.relations
    assert {name for r in claim.relations for name in (r.better, r.worse)} == set(claim.variants)


def test_training_rows_without_a_label_have_none(lab):
    assert "label" not in lab().tokenize(["the film is good"], None).column_names


def test_pairs_of_a_corpus_follow_each_other_in_a_paragraph(lab, tmp_path):
    place = lab()
    place.corpus_file = tmp_path / "corpus.txt"
    lines = ["= a heading of this text =", "the film is very good . it was a fine plot . this is of the actor .", ""]
    place.corpus_file.write_text("\n".join([*lines, "the scene is a dull . and it was very poor ."]))
    assert place.pairs == [
        ("the film is very good", "it was a fine plot"),
        ("the scene is a dull", "and it was very poor"),
    ]
    (row, _) = place.tokenize_pairs(place.pairs)
    assert (row["first"], row["second"], row["length"], sum(row["token_type_ids"])) == (5, 5, 13, 6)


def test_pairs_of_the_pipeline_are_taken_as_they_are(lab, tmp_path):
    pairs = [("the film", "it was good"), ("a plot", "very dull")]
    file = tmp_path / "corpus.parquet"
    Dataset.from_dict({"text": [a for a, _ in pairs], "text_pair": [b for _, b in pairs]}).to_parquet(file)
    place = lab()
    place.corpus_file, place.sentences = file, 2
    assert place.pairs == pairs[:1] and place.corpus == ["the film", "it was good"]


def test_next_sentences_are_wrong_in_half_of_the_rows_and_all_are_asked_for_their_order(lab, monkeypatch):
    texts = tiny.sentences(64, seed=4)[0]
    place = lab()
    place.pairs = list(zip(texts[:32], texts[32:], strict=True))
    seen = {}

    def watch(model, step, rows, **numbers):
        seen["labels"] = [row["label"] for row in rows]

    monkeypatch.setattr(place, "fit", watch)
    right = albert_order.trained_for_next(place, 1)
    assert len(seen["labels"]) == 24 and 4 < sum(seen["labels"]) < 20
    assert len(right) == len(albert_order.chance(place, 1)) == 8 and set(right) <= {0.0, 1.0}
