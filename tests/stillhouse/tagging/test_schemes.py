"""Entities of labels: each scheme, what is mended, and agreement with seqeval on random sequences."""

import random

import numpy as np
import pytest
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support

from stillhouse.errors import InputError
from stillhouse.tagging.schemes import Entity, scheme_of
from tasks.evaluation.word_labels import OF_COUNTS, by_type, count

BIO = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]
LABELS = {
    "BIO": BIO,
    "IO": ["I-LOC", "I-PER", "O"],
    "BIOES": [*BIO, "E-LOC", "E-PER", "S-LOC", "S-PER"],
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_entities_and_scores_of_random_sequences_are_seqevals(labels: list[str]) -> None:
    draw = random.Random(7)
    scheme = scheme_of(labels)
    both = [[[draw.choice(labels) for _ in range(draw.randint(1, 12))] for _ in range(400)]]
    both.append([[draw.choice([label, draw.choice(labels)]) for label in row] for row in both[0]])
    truth, given = both
    for row in truth:
        found = [(each.type, each.first, each.end - 1) for each in scheme.found(row)]
        assert found == get_entities(row)
    counts = count(truth, given, scheme)
    assert counts.hit.sum() > 50, "some are right"
    ours = {name: metric(counts) for name, metric in OF_COUNTS.items()}
    assert ours == {
        "micro_f1": pytest.approx(f1_score(truth, given)),
        "macro_f1": pytest.approx(f1_score(truth, given, average="macro")),
        "precision": pytest.approx(precision_score(truth, given)),
        "recall": pytest.approx(recall_score(truth, given)),
        "accuracy": pytest.approx(accuracy_score(truth, given)),
    }
    precision, recall, f1, _ = precision_recall_fscore_support(truth, given)
    types = by_type(counts)
    order = np.argsort(scheme.types)
    for name, theirs in (("precision", precision), ("recall", recall), ("f1", f1)):
        np.testing.assert_allclose(types[name][order], theirs)


def test_labels_without_a_scheme_are_their_words() -> None:
    scheme = scheme_of(["DET", "NOUN", "VERB"])
    assert not scheme.entities
    assert scheme.found(["DET", "NOUN"]) == [Entity("DET", 0, 1), Entity("NOUN", 1, 2)]
    counts = count([["DET", "NOUN"], ["VERB"]], [["DET", "VERB"], ["VERB"]], scheme)
    assert OF_COUNTS["accuracy"](counts) == OF_COUNTS["micro_f1"](counts) == pytest.approx(2 / 3)


def test_types_alone_beside_o_are_runs() -> None:
    scheme = scheme_of(["O", "art", "person-actor"])
    assert scheme.found(["art", "art", "O", "person-actor", "art"]) == [
        Entity("art", 0, 2),
        Entity("person-actor", 3, 4),
        Entity("art", 4, 5),
    ]


def test_a_label_of_no_scheme_beside_others_is_named() -> None:
    with pytest.raises(InputError, match=r"label 'X-LOC' is of no scheme: beside O and 'B-PER' labels are B-, I-"):
        scheme_of(["B-PER", "I-PER", "O", "X-LOC"])


@pytest.mark.parametrize(
    ("labels", "row", "mended"),
    [
        (BIO, "O I-LOC I-LOC I-PER", "O B-LOC I-LOC B-PER"),
        (BIO, "B-LOC I-LOC B-LOC", "B-LOC I-LOC B-LOC"),
        (LABELS["BIOES"], "I-LOC E-LOC E-LOC S-PER I-PER", "B-LOC E-LOC S-LOC S-PER B-PER"),
        (LABELS["IO"], "O I-LOC I-PER", "O I-LOC I-PER"),
        (["B-LOC", "I-LOC", "I-PER", "O"], "I-PER O I-LOC", "I-PER O B-LOC"),  # there is no B-PER
    ],
)
def test_an_entity_begins_as_its_scheme_has_it(labels: list[str], row: str, mended: str) -> None:
    scheme = scheme_of(labels)
    assert scheme.mended(row.split(), labels) == mended.split()
    assert scheme.found(row.split()) == scheme.found(mended.split()), "the entities stay what they are"
