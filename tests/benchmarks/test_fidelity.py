"""The paper checks: how a relation is judged, and that a stopped run goes on."""

import json
from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset

from benchmarks import fidelity
from benchmarks.claims import Claim, Relation, albert_order, as_given
from benchmarks.claims.hinton_missing_class import recalled
from benchmarks.lab import Lab, Numbers
from tests import tiny

TRUTH = np.array([0, 1] * 50)


class Memory:
    """A lab without models: what a variant gives is what was predicted."""

    truth = TRUTH

    def outcome(self, name, make):
        return np.array(make())


def claim(*variants: np.ndarray) -> Claim:
    makers = {str(i): lambda lab, seed, given=given: given.tolist() for i, given in enumerate(variants)}
    return Claim("x", "0 > 1", makers, [Relation("0", "1")])


def flipped(count: int) -> np.ndarray:
    given = TRUTH.copy()
    given[:count] = 1 - given[:count]
    return given


@pytest.mark.parametrize(
    ("wrong", "verdict"), [((5, 40), "holds"), ((40, 5), "does not hold"), ((10, 11), "within noise")]
)
def test_a_relation_is_judged_by_its_difference_and_the_noise(wrong, verdict):
    result = fidelity.check(claim(*(flipped(count) for count in wrong)), Memory(), [1, 2])
    assert result["verdict"] == verdict
    (relation,) = result["relations"]
    assert relation["difference"] == pytest.approx((wrong[1] - wrong[0]) / 100)
    assert fidelity.line("x", result).startswith(f"x: {verdict}: 0 − 1 = ")


@pytest.mark.parametrize(
    ("wrong", "verdict"), [((5, 40), "does not hold"), ((40, 5), "does not hold"), ((9, 11), "holds")]
)
def test_variants_that_should_be_alike_are_as_long_as_no_difference_stands_out(wrong, verdict):
    alike = claim(*(flipped(count) for count in wrong))
    result = fidelity.check(replace(alike, relations=[Relation("0", "1", alike=True)]), Memory(), [1])
    assert result["verdict"] == verdict
    page = result | {"data": "sst2", "rows": 10, "epochs": 1.0, "hardware": "a machine", "date": "2026-11-23"}
    assert "like 1 (" in fidelity.table([page])


@pytest.mark.parametrize(
    ("wrong", "verdict"), [((5, 5), "holds"), ((12, 5), "within noise"), ((40, 5), "does not hold")]
)
def test_with_a_margin_a_little_less_holds_as_well(wrong, verdict):
    two = claim(*(flipped(count) for count in wrong))
    result = fidelity.check(replace(two, relations=[Relation("0", "1", margin=0.1)]), Memory(), [1])
    assert result["verdict"] == verdict
    assert result["relations"][0]["difference"] == pytest.approx((wrong[1] - wrong[0]) / 100)
    page = fidelity.table([result | {"data": "sst2", "rows": 10, "epochs": 1.0, "hardware": "a machine", "date": "d"}])
    assert "above 1 (0.950) less 0.1 |" in page


def test_a_single_number_has_no_noise():
    makers = {"3.9": lambda lab, seed: [3.9], "4": lambda lab, seed: [4.0]}
    four = Claim("x", "near 4", makers, [Relation("3.9", "4", margin=0.2), Relation("3.9", "4")], score=as_given)
    near, above = fidelity.check(four, Memory(), [1])["relations"]
    assert (near["noise"], near["verdict"], above["verdict"]) == (0, "holds", "does not hold")


def test_the_noise_is_that_of_paired_rows():
    result = fidelity.check(claim(flipped(10), flipped(20)), Memory(), [1])
    paired = (flipped(10) == TRUTH).astype(float) - (flipped(20) == TRUTH)
    assert result["relations"][0]["noise"] == pytest.approx(1.645 * paired.std(ddof=1) / 10)


def test_a_claim_fails_with_one_relation_and_holds_with_all():
    assert fidelity.summary(["holds", "within noise", "does not hold"]) == "does not hold"
    assert fidelity.summary(["holds", "within noise"]) == "within noise"
    assert fidelity.summary(["holds", "holds"]) == "holds"


def test_recall_of_the_missing_class_counts_its_rows_alone():
    scores = recalled(np.array([1, 1, 0]), np.array([1, 0, 1]))
    assert scores[[0, 2]].tolist() == [1.0, 0.0] and np.isnan(scores[1])


@pytest.fixture
def lab(tmp_path):
    for name, count, seed in (("train", 64, 1), ("dev", 24, 2)):
        texts, labels = tiny.sentences(count, seed)
        lines = [f"{text}\t{label}" for text, label in zip(texts, labels, strict=True)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")
    start = tiny.save(tiny.bert(layers=4).bert, tmp_path / "start")
    return lambda: Lab(tmp_path, start, None, tmp_path / "work", 48, 10, Numbers(epochs=1, batch_size=8))


def test_the_teacher_is_trained_once_and_its_route_ends_with_it(lab, capsys):
    route = lab().route()
    assert "--- teacher, seed 1" in capsys.readouterr().out
    again = lab()
    assert len(route) == 4
    assert (again.logits(again.teacher(), again.validation) == again.logits(route[-1], again.validation)).all()
    assert "--- teacher" not in capsys.readouterr().out


def test_a_variant_does_not_go_on_where_another_one_ended(lab):
    place = lab()
    one, other = (place.predictions(place.fine_tune(place.bare(seed), 1)) for seed in (1, 2))
    alone = lab()
    assert alone.predictions(alone.fine_tune(alone.bare(2), 1)) == other
    assert len(one) == len(other) == 24


def test_what_a_variant_predicted_is_kept(lab):
    first = lab()
    given = first.outcome("x/a-1", lambda: first.predictions(first.fine_tune(first.bare(), 1)))
    assert given.shape == (24,)
    again = lab()
    assert (again.outcome("x/a-1", lambda: pytest.fail("it was run again")) == given).all()


def test_a_model_that_several_variants_share_is_trained_once(lab):
    place = lab()
    first = place.kept("x/model", place.bare)
    assert place.kept("x/model", lambda: pytest.fail("it was trained again")) == first
    assert (first / "model.safetensors").is_file()


def test_a_claim_writes_its_verdict(lab, tmp_path):
    maker = {"0": lambda lab, seed: lab.truth.tolist(), "1": lambda lab, seed: (1 - lab.truth).tolist()}
    result = fidelity.check(Claim("x", "0 > 1", maker, [Relation("0", "1")]), lab(), [1])
    assert json.loads(json.dumps(result))["verdict"] == "holds"


def test_the_page_has_a_row_for_each_relation():
    result = fidelity.check(claim(flipped(5), flipped(40)), Memory(), [1])
    result |= {"data": "sst2", "rows": 10, "epochs": 1.0, "hardware": "a machine", "date": "2026-11-23"}
    page = fidelity.table([result])
    assert "| `x` | 0 (0.950) above 1 (0.600) | +0.350 ± " in page
    assert "| `x` | sst2 | 10 × 1 | 1 | a machine | 2026-11-23 |" in page


@pytest.mark.parametrize("slug", fidelity.claims())
def test_every_claim_names_variants_that_it_has(slug):
    import importlib

    claim = importlib.import_module(f"benchmarks.claims.{slug.replace('-', '_')}").CLAIM
    assert claim.slug == slug and claim.relations
    assert {name for r in claim.relations for name in (r.better, r.worse)} == set(claim.variants)


def test_training_rows_without_a_label_have_none(lab):
    assert "label" not in lab().tokenize(["the film is good"], None).column_names


def test_pairs_of_a_corpus_follow_each_other_in_a_paragraph(lab, tmp_path):
    place = lab()
    place.corpus_file = tmp_path / "corpus.txt"
    lines = ["= a heading of this text =", "the film is very good . it was a fine plot . this is of the actor .", ""]
    place.corpus_file.write_text("\n".join([*lines, "the scene is a dull . and it was very poor ."]))
    place.sentences = 10
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
