"""A student trained with its teacher in both vocabularies > the same student without (Zhao 2019, table 2)."""

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab, Rows
from stillhouse.methods.subword import DualTraining, TwoCuts, add_vocabulary, dual_step
from stillhouse.student import build_student, give_head
from stillhouse.wordpiece import cut, train_wordpiece

VOCABULARY, WIDTH = 5000, 96


def dual(lab: Lab, seed: int) -> list[int]:
    return run(lab, seed, weight=0.01)


def alone(lab: Lab, seed: int) -> list[int]:
    return run(lab, seed, weight=0.0)


def run(lab: Lab, seed: int, weight: float) -> list[int]:
    """The corpus, then the task with its labels alone; the weight of the projections, 0 for no teacher."""
    theirs, teacher = lab.tokenizer, lab.masked_lm()
    ours = train_wordpiece(lab.corpus, theirs, VOCABULARY)
    layers = list(range(1, teacher.config.num_hidden_layers + 1))
    student = build_student(
        teacher, layers=len(layers), hidden_size=WIDTH, heads=4, intermediate_size=4 * WIDTH, tokenizer=ours,
        source_layers=None, seed=seed,
    )  # fmt: skip
    offset = None
    if weight:
        known = theirs.get_vocab()
        pieces = ours.convert_ids_to_tokens(range(len(ours)))
        starts = [[known[p]] if p in known else cut(theirs, p.removeprefix("##")) for p in pieces]
        offset = add_vocabulary(teacher, len(ours), starts, seed)
    model = DualTraining(
        student, None if offset is None else teacher.requires_grad_(True), offset=offset or 0, layers=layers, up=False,
        weight=weight, seed=seed,
    )  # fmt: skip
    columns = TwoCuts(theirs, ours, 64)(lab.corpus)
    rows = Rows(dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    step = dual_step(theirs, ours, offset=offset, probability=0.5, mask=0.15)
    lab.fit(model, step, rows, seed=seed, tokenizer=ours, learning_rate=5e-4)
    classifier = give_head(student.base_model, lab.bare(), seed=0)
    return lab.predictions(lab.fine_tune(classifier, seed, ours, learning_rate=5e-4), ours)


CLAIM = Claim(
    "subword",
    "dual-trained student > the same student without its teacher",
    {"dual": dual, "alone": alone},
    [Relation("dual", "alone")],
)
