"""A student whose transfer set lacks one class still recalls that class (Hinton 2015, section 3: the digit 3).

As in the paper after its bias is corrected: never having seen the class, the student knows it by degrees but not how
frequent it is. Here the class's logit is raised until it is predicted as often as it stands in the training set.
"""

import numpy as np
from transformers import PreTrainedModel

from benchmarks.claims import Claim, Relation
from benchmarks.claims.hinton import step, student
from benchmarks.lab import Lab
from benchmarks.rows import Rows
from stillhouse.training.outcomes import classify

MISSING = 1


def transfer_set(lab: Lab) -> Rows:
    """The training rows without those of one class."""
    return Rows(row for row in lab.rows if row["label"] != MISSING)


def hard(lab: Lab, seed: int) -> list[int]:
    model = student(lab)
    lab.fit(model, classify, transfer_set(lab), seed=seed)
    return with_bias(model, lab)


def distilled(lab: Lab, seed: int) -> list[int]:
    model = student(lab)
    lab.fit(model, step, lab.taught(transfer_set(lab)), seed=seed)
    return with_bias(model, lab)


def with_bias(model: PreTrainedModel, lab: Lab) -> list[int]:
    """Predictions after the bias of the missing class was corrected; of two classes."""
    logits = lab.logits(model, lab.judged)
    margin = logits[:, MISSING] - logits[:, 1 - MISSING]
    share = float(np.mean(np.array(lab.train_labels) == MISSING))
    return np.where(margin > np.quantile(margin, 1 - share), MISSING, 1 - MISSING).tolist()


def recalled(given: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether a row of the missing class is recognised; other rows do not count."""
    return np.where(truth == MISSING, (given == truth).astype(float), np.nan)


CLAIM = Claim(
    "hinton-missing-class",
    "a class that the transfer set lacks is still recalled",
    {"hard": hard, "distilled": distilled},
    [Relation("distilled", "hard")],
    score=recalled,
    measure="recall of the class",
)
