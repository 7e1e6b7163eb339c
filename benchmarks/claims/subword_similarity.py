"""Dual training brings a word's embeddings in the two vocabularies together (Zhao 2019, section 5).

Words that are a piece of both vocabularies have two rows in the teacher's table: its own, and that of the student's
piece, which starts here from random weights. Of each such word of the corpus: the cosine of the two.
"""

from collections.abc import Callable
from functools import partial

from torch.nn import functional as F

from benchmarks.claims import Claim, Relation, as_given
from benchmarks.claims.subword import VOCABULARY, train_dual
from benchmarks.lab import Lab
from stillhouse.encoders.families import word_embeddings
from stillhouse.text.wordpiece import train_wordpiece, words


def variant(trained: bool) -> Callable[[Lab, int], list[float]]:
    return partial(run, trained)


def run(trained: bool, lab: Lab, seed: int) -> list[float]:
    theirs = lab.tokenizer
    ours = train_wordpiece(lab.corpus, theirs, VOCABULARY)
    _, teacher, offset = train_dual(lab, seed, ours, weight=0.01, start="random", train=trained)
    assert teacher is not None
    here, there = theirs.get_vocab(), ours.get_vocab()
    seen = {word for text in lab.corpus for word in words(ours, text)}
    both = sorted(word for word in seen if word in here and word in there)
    table = word_embeddings(teacher).weight.detach()
    cosines = F.cosine_similarity(table[[here[word] for word in both]], table[[offset + there[word] for word in both]])
    return cosines.tolist()


CLAIM = Claim(
    "subword-similarity",
    "a word's embeddings in the two vocabularies come together",
    {"after dual training": variant(True), "before": variant(False)},
    [Relation("after dual training", "before")],
    score=as_given,
    measure="cosine",
)
