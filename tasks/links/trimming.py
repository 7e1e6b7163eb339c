"""The link `trim`: a model and its tokenizer without the pieces that some texts do not use."""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.methods import trim as method
from stillhouse.surgery import trim as trim_vocabulary
from tasks.data.dataset import load_split


def trimmed(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], floor: int, first: int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Both without the pieces that stand in the texts less often than `floor`, but for the tokenizer's `first`.

    It says how many pieces that leaves.

    Raises:
        InputError: a tokenizer that cannot be trimmed, or texts that are empty.
    """
    counts = method.count_pieces(tokenizer, texts)
    keep = method.pieces_that_stay(model, tokenizer, counts, floor, first)
    print(
        f"{(counts >= floor).sum():,} of {len(tokenizer):,} pieces stand {floor} times or more in "
        f"{len(texts):,} texts; {len(keep):,} stay, for what every text can be cut into stays too"
        + (f", and the first {first:,}" if first else ""),
        flush=True,
    )
    return trim_vocabulary(model, tokenizer, keep)


def say_what_is_cut(
    before: PreTrainedTokenizerBase, after: PreTrainedTokenizerBase, rows: Sequence[Sequence[str]]
) -> method.Recut:
    """Say what share of some rows the smaller tokenizer cuts differently."""
    cut = method.cut_differently(before, after, rows)
    print(
        f"validation: {cut.rows:.1%} of the rows and {cut.tokens:.2%} of the tokens are cut differently, into "
        f"{cut.longer:.3f} times as many tokens",
        flush=True,
    )
    return cut


def corpus_texts(corpus: Path, task: Path) -> list[str]:
    """The text of a corpus that counts beside the task's; none where the task itself is named."""
    return [] if corpus.resolve() == task.resolve() else load_split(corpus / "corpus.parquet")["text"][:]


def texts_of(rows: Dataset, columns: Sequence[str]) -> list[list[str]]:
    """The texts of each row; where a column holds words, each is a text."""
    held = [rows[name][:] for name in columns]
    rows_of_cells = zip(*held, strict=True)
    return [[text for cell in row for text in ([cell] if isinstance(cell, str) else cell)] for row in rows_of_cells]
