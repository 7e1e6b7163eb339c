"""The validation score of a model, as the training stages want it: one number, by the name that params.yaml gives."""

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.predict import predict
from tasks.dataset import TaskData, tokenize
from tasks.metrics import compute, headline


def validation_score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: TaskData,
    *,
    metric: str,
    max_length: int,
    batch_size: int,
) -> float:
    """`metric` over the validation split; the model stays in its mode and on its device.

    Raises:
        InputError: the metric is not one of this kind of task.
    """
    data = tokenize(task.validation, tokenizer, max_length)
    logits = predict(model, data, tokenizer, batch_size=batch_size)
    return headline(compute(logits, task.validation["label"][:], task.regression), metric)
