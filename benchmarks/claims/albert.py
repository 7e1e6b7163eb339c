"""Sharing the FFN of all layers hurts more than sharing their attention (Lan et al. 2020, table 4).

A group's weights start as the average of all layers; then the corpus, with masked tokens and sentence order, then the
task with its labels. Word vectors are not factorized, so that sharing alone is compared.
"""

from collections.abc import Callable
from functools import partial

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.encoders.student import give_head
from stillhouse.methods.albert import Pretraining, Share, pretraining_step, shared


def variant(share: Share) -> Callable[[Lab, int], list[int]]:
    return partial(run, share)


def run(share: Share, lab: Lab, seed: int) -> list[int]:
    masked = shared(lab.masked_lm(), share=share, groups=1, start="average", embedding_size=None)
    coder = lab.tokenizer
    step = pretraining_step(0.15, coder.mask_token_id, coder.all_special_ids, len(coder))
    model = Pretraining(masked, {"mlm": 1.0, "sop": 1.0}, seed)
    lab.fit(model, step, lab.tokenize_pairs(lab.pairs), seed=seed, learning_rate=2e-4)
    return lab.predictions(lab.fine_tune(give_head(masked.base_model, lab.bare(), seed=0), seed))


CLAIM = Claim(
    "albert",
    "sharing the FFN hurts more than sharing attention",
    {"nothing shared": variant("none"), "attention shared": variant("attention"), "FFN shared": variant("ffn")},
    [Relation("attention shared", "FFN shared"), Relation("nothing shared", "FFN shared")],
)
