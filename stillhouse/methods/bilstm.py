"""Distilling task-specific knowledge from BERT into simple neural networks (Tang et al. 2019, arXiv 1903.12136).

    L = α·CE(y, z_S) + (1−α)·‖z_T − z_S‖²        section 3.2; the paper trains with α = 0, on the teacher's logits alone

The student is a one-layer BiLSTM over word vectors, for pairs a siamese one (section 3.1):
`stillhouse.models.modeling_bilstm`. It learns from the training set and its augmentation (section 3.3):
`stillhouse.text.word_classes`.

Answers to questions, which the paper does not treat, have a BiLSTM with two logits a word:
`stillhouse.models.modeling_bilstm_answers`.

Where we differ: ‖·‖² is the sum over classes, as the formula has it, and the mean over sentences. The optimizer is the
loop's AdamW, not Adadelta. Where no file of word vectors is given (the paper has word2vec's), they start from the
teacher's input embeddings, which need no download.

Shapes: B sentences, C classes (1 for regression), V words, E width of the word vectors.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.errors import InputError
from stillhouse.training.losses import NO_OUTCOME, task_loss


def distillation_loss(student: Tensor, teacher: Tensor, labels: Tensor, alpha: float) -> dict[str, Tensor]:
    """The paper's loss, in its two weighted terms; a term of weight 0 is left out.

    Args:
        student: z_S (B, C); (B, 1) for regression.
        teacher: z_T (B, C).
        labels: y (B,), class indices, or floats for regression.
        alpha: α, weight of the labels.
    """
    terms = {}
    if alpha > 0:
        terms["hard"] = alpha * task_loss(student, labels)
    if alpha < 1:
        # Of words that the teacher says nothing of, such as a question's own, there is no error.
        error = torch.where(teacher > NO_OUTCOME / 2, student.float() - teacher.float(), 0)
        terms["soft"] = (1 - alpha) * error.square().sum(-1).mean()
    return terms


def piece_vectors(
    words: Sequence[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Tensor]:
    """For each word the mean of a model's input embeddings of its pieces, (d,); words it cannot write are left out."""
    table: nn.Embedding = model.get_input_embeddings()  # type: ignore[assignment]
    # After a space, as within a sentence: some tokenizers have other pieces there.
    pieces = tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
    known = {w: ids for w, ids in zip(words, pieces, strict=True) if ids and tokenizer.unk_token_id not in ids}
    weight = table.weight.detach().float().cpu()
    return {word: weight[ids].mean(0) for word, ids in known.items()}


@torch.no_grad()
def start_from(table: nn.Embedding, vocabulary: Mapping[str, int], vectors: Mapping[str, Tensor]) -> int:
    """Write known word vectors into a student's table; give how many there were.

    Vectors wider than the table's E keep their E first principal directions: what changes their inner products least.
    All are scaled together, to the standard deviation that the table has, so that no start is louder than another.

    Args:
        table: (V, E), random; words without a vector keep what they have.
        vocabulary: word -> its row.
        vectors: word -> (d,).

    Raises:
        InputError: no word of the vocabulary has a vector, or they are narrower than the table.
    """
    words = [word for word in vocabulary if word in vectors]
    if not words:
        raise InputError("the word vectors know no word of the training texts: give others, or set vectors to random")
    # In double precision: a product's last bit depends on where its matrices lie in memory, so on the run.
    known = torch.stack([vectors[word] for word in words]).double()  # (N, d)
    width = table.embedding_dim
    if known.shape[1] < width:
        raise InputError(
            f"student.embedding_size ({width}) is more than the word vectors' width ({known.shape[1]}): lower it"
        )
    if known.shape[1] > width:
        directions = torch.linalg.eigh(known.T @ known)[1].flip(1)[:, :width]  # it gives the largest last
        known = known @ directions
    rows = torch.tensor([vocabulary[word] for word in words])
    table.weight[rows] = (known * (table.weight[rows].std() / known.std())).to(table.weight.dtype)
    return len(words)
