"""A student trained with its teacher in both vocabularies > the same student without (Zhao 2019, table 2)."""

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from benchmarks.rows import Rows
from stillhouse.encoders.student import build_student, give_head
from stillhouse.methods.subword import DualTraining, TwoCuts, add_vocabulary, dual_step
from stillhouse.text.wordpiece import cut, train_wordpiece

VOCABULARY, WIDTH = 5000, 96


def dual(lab: Lab, seed: int) -> list[int]:
    return run(lab, seed, weight=0.01)


def alone(lab: Lab, seed: int) -> list[int]:
    return run(lab, seed, weight=0.0)


def run(lab: Lab, seed: int, weight: float) -> list[int]:
    """The corpus, then the task with its labels alone; the weight of the projections, 0 for no teacher."""
    ours = train_wordpiece(lab.corpus, lab.tokenizer, VOCABULARY)
    student, _, _ = train_dual(lab, seed, ours, weight=weight)
    classifier = give_head(student.base_model, lab.bare(), seed=0)
    return lab.predictions(lab.fine_tune(classifier, seed, ours, learning_rate=5e-4), ours)


def train_dual(
    lab: Lab, seed: int, ours: PreTrainedTokenizerBase, *, weight: float, start: str = "teacher", train: bool = True
) -> tuple[PreTrainedModel, PreTrainedModel | None, int]:
    """Student and teacher after the corpus, and the id of the student's first piece in the teacher.

    Args:
        ours: the student's tokenizer.
        weight: of the projections; 0 for no teacher.
        start: of the student's pieces in the teacher, teacher | random.
        train: False for both as they start.
    """
    theirs, teacher = lab.tokenizer, lab.masked_lm()
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
        offset = add_vocabulary(teacher, len(ours), starts if start == "teacher" else None, seed)
    if not train:
        return student, teacher, offset or 0
    model = DualTraining(
        student, None if offset is None else teacher.requires_grad_(True), offset=offset or 0, layers=layers, up=False,
        weight=weight, seed=seed,
    )  # fmt: skip
    columns = TwoCuts(theirs, ours, 64)(lab.corpus)
    rows = Rows(dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    step = dual_step(theirs, ours, offset=offset, probability=0.5, mask=0.15)
    lab.fit(model, step, rows, seed=seed, tokenizer=ours, learning_rate=5e-4)
    return student, teacher if weight else None, offset or 0


CLAIM = Claim(
    "subword",
    "dual-trained student > the same student without its teacher",
    {"dual": dual, "alone": alone},
    [Relation("dual", "alone")],
)
