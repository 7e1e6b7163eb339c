"""The score of a model on labelled rows, as the training stages want it: by the name that params.yaml gives."""

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.training.losses import task_loss
from stillhouse.training.predict import predict
from tasks.data.dataset import TaskData, tokenize
from tasks.evaluation.metrics import compute, headline


class Scorer:
    """Scores one model after the other on the same rows, which are tokenized once.

    Args:
        rows: with their labels, not tokenized.
        tokenizer: the models'.
        regression: whether the labels are scores.
        metric: its name in params.yaml.
    """

    def __init__(
        self,
        rows: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        *,
        regression: bool,
        metric: str,
        max_length: int,
        batch_size: int,
    ) -> None:
        self.data = tokenize(rows, tokenizer, max_length)
        self.tokenizer = tokenizer
        self.labels = rows["label"][:]
        self.regression = regression
        self.metric = metric
        self.batch_size = batch_size

    def __call__(self, model: PreTrainedModel) -> tuple[float, float]:
        """`metric`, and minus the mean loss, which tells apart what the metric does not; both the higher the better.

        The model stays in its mode and on its device.

        Raises:
            InputError: the metric is not one of this kind of task.
        """
        logits = predict(model, self.data, self.tokenizer, batch_size=self.batch_size)
        loss = task_loss(torch.from_numpy(logits), torch.tensor(self.labels)).item()
        return headline(compute(logits, self.labels, self.regression), self.metric), -loss


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
    scorer = Scorer(
        task.validation,
        tokenizer,
        regression=task.regression,
        metric=metric,
        max_length=max_length,
        batch_size=batch_size,
    )
    return scorer(model)[0]
