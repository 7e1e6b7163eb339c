"""A student at its start: of the teacher, or of another pretrained model, perhaps with words cut otherwise."""

from typing import TYPE_CHECKING

from transformers import AutoModel, AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import load_model, load_tokenizer, same_vocabulary
from stillhouse.encoders.fits import check_fit
from stillhouse.errors import InputError
from tasks.phases.plan import StudentParams, make_student
from tasks.phases.teacher import teacher_source

if TYPE_CHECKING:
    from tasks.phases.run import Given


def start_student(given: "Given", params: StudentParams, seed: int) -> PreTrainedModel:
    """The student of a recipe whose loss reads student and teacher at the same tokens.

    Raises:
        InputError: a shape that does not fit, or `student.from` cuts words otherwise than the teacher.
    """
    student, tokenizer = start_any_student(given, params, seed)
    if tokenizer is not None:
        raise InputError(
            f"student.from = '{params.origin}' cuts words otherwise than the teacher, and this recipe compares them "
            "token by token: give a model of the teacher's vocabulary, or use a recipe of logits alone, such as hinton"
        )
    return student


def start_any_student(
    given: "Given", params: StudentParams, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase | None]:
    """The student, and its tokenizer where it cuts words otherwise than the teacher.

    Where `student.from` names a model, that stands for the teacher: its layers are taken, or its family at another
    shape. On the task it gets a new head, of `seed`, unless it has one of the task.

    Raises:
        InputError: a shape that does not fit, or a model that is none to start from.
    """
    if params.origin is None:
        return make_student(given.teacher, params, seed), None
    source = teacher_source(params.origin)
    tokenizer = load_tokenizer(source)
    lengths, pair = {}, False
    if given.task is not None:
        kind = given.kind
        template = kind.start(source, seed)
        tree = {"train": kind.train.model_dump(), "kinds": {kind.name: kind.numbers.model_dump()}}
        longest, key = kind.longest(tree)
        lengths, pair = {key: longest}, kind.pair
    elif given.teacher.get_output_embeddings() is not None:
        template = load_model(source, AutoModelForMaskedLM, whole=True)
    else:
        template = load_model(source, AutoModel)
    check_fit(params.origin, template.config, tokenizer, lengths, pair)
    student = make_student(template, params, seed)
    return student, None if same_vocabulary(tokenizer, given.tokenizer) else tokenizer
