"""How large a check is, and how long everything in it trains."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Numbers:
    """How every variant trains, so that they differ in nothing but what is compared."""

    epochs: float = 3
    batch_size: int = 32
    learning_rate: float = 1e-4


@dataclass(frozen=True)
class SetUp:
    """What a check is made with.

    Args:
        rows: that every variant trains on.
        numbers: how.
        teacher_rows: that the teacher trains on; the variants' are the first of them.
        teacher: how.
        sentences: of the corpus, for methods that train on one.
    """

    rows: int = 2000
    numbers: Numbers = Numbers()
    teacher_rows: int = 2000
    teacher: Numbers = Numbers()
    sentences: int = 2000


DEFAULT = SetUp()

# A small student's loss on its rows has come down to nothing after ten passes at this rate, and its teacher has seen
# ten times as many rows.
CONVERGED = SetUp(
    numbers=Numbers(epochs=10, learning_rate=2e-4), teacher_rows=20_000, teacher=Numbers(epochs=2, learning_rate=5e-5)
)
