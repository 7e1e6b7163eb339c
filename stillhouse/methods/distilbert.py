"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108, sections 2 and 3).

On a corpus, with the pretrained masked LM as teacher and the same masked input for both:

    L = w_KL·T²·KL(p_T ‖ p_S) + w_MLM·CE(y, z_S) + w_cos·(1 − cos(h_S, h_T))        p = softmax(z/T)

KL and cosine are means over all real tokens, CE over the masked ones. The reference code has w_KL = 5, w_MLM = 2,
w_cos = 1, T = 2, and starts the student from every other layer of the teacher, with its embeddings and MLM head. Masks
are drawn anew for every batch; there is no next-sentence prediction. Then the student is fine-tuned on a task.

Where we differ: the student is of the teacher's class, so a BERT keeps its table of token types and its pooler, which
the paper removes; one type alone is ever read here, so the table is a constant that the next LayerNorm sees.

The vocabulary is what costs: (N, V) logits of both models. Padding never reaches the heads, KL and CE share the
student's logits, and tokens go through the heads in pieces, so that memory does not grow with the batch.

Shapes: B sentences, L tokens, N real tokens of the batch, d width, V vocabulary.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from stillhouse.encoders.families import encoder
from stillhouse.encoders.mlm_head import vocabulary_logits
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.masking import hide_tokens, places
from stillhouse.training.step import Step

Head = Callable[[Tensor], Tensor]  # (n, d) to (n, V)

PIECE = 2048  # tokens whose logits exist at a time: a quarter of a GB in fp32 for BERT's vocabulary


def distillation_sum(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T²·KL(p_T ‖ p_S), summed over the rows of logits (n, V)."""
    ours = F.log_softmax(student.float() / temperature, dim=-1)
    theirs = F.log_softmax(teacher.float() / temperature, dim=-1)
    return temperature**2 * F.kl_div(ours, theirs, log_target=True, reduction="sum")


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 − cos over the rows of two (N, d) tensors."""
    return 1 - F.cosine_similarity(student.float(), teacher.float(), dim=-1).mean()


def vocabulary_losses(
    hidden: Tensor, teacher: Tensor, heads: tuple[Head, Head], ids: Tensor, chosen: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """T²·KL, mean over all tokens, and the masked-LM loss, mean over the chosen ones (zero where none was chosen).

    With more tokens than PIECE, the logits of each piece are computed again for the gradient, not kept.

    Args:
        hidden: (N, d) last hidden states of the student at the real tokens.
        teacher: (N, d_T) the teacher's.
        heads: the student's and the teacher's.
        ids: (N,) the tokens as they were before masking.
        chosen: (N,) bool, which of them are predicted.
        temperature: T.
    """

    def sums(hidden: Tensor, teacher: Tensor, ids: Tensor, chosen: Tensor) -> Tensor:
        with torch.no_grad():
            theirs = heads[1](teacher)
        ours = heads[0](hidden)
        (where,) = places(chosen)
        hard = F.cross_entropy(ours[where].float(), ids[where], reduction="sum")
        return torch.stack([distillation_sum(ours, theirs, temperature), hard])

    pieces = list(zip(*(tensor.split(PIECE) for tensor in (hidden, teacher, ids, chosen)), strict=True))
    if len(pieces) == 1:
        soft, hard = sums(*pieces[0])
    else:
        soft, hard = torch.stack([checkpoint(sums, *piece, use_reentrant=False) for piece in pieces]).sum(0)
    return soft / len(hidden), hard / chosen.sum().clamp(min=1)


class GeneralDistillation(nn.Module):
    """A masked-LM student, and the losses of the corpus phase as its forward.

    Args:
        student: a masked LM.
        teacher: a masked LM with the same vocabulary; frozen, and no part of what is trained and saved.
        weights: of the terms `kl`, `mlm` and `cosine`; a term of weight 0 is left out, and what it alone needs is not
            computed.
        temperature: T.

    Raises:
        InputError: the cosine is asked for, and the widths differ.
    """

    def __init__(
        self, student: PreTrainedModel, teacher: PreTrainedModel, weights: Mapping[str, float], temperature: float
    ) -> None:
        super().__init__()
        widths = student.config.hidden_size, teacher.config.hidden_size
        if weights["cosine"] and widths[0] != widths[1]:
            raise InputError(
                f"student.hidden_size ({widths[0]}): the cosine needs the teacher's {widths[1]}: "
                "set weights.cosine to 0"
            )
        self.student = student
        self.teacher = _Teacher(teacher)
        self.weights = weights
        self.temperature = temperature

    def forward(self, inputs: Batch, ids: Tensor, chosen: Tensor) -> dict[str, Tensor]:
        """The weighted terms. `inputs` with masked ids, `ids` (B, L) before masking, `chosen` (B, L) bool."""
        weights, real = self.weights, places(inputs["attention_mask"])
        hidden = self.student.base_model(**inputs).last_hidden_state[real]  # (N, d)
        theirs = self.teacher.hidden(inputs)[real] if weights["kl"] or weights["cosine"] else None
        ids, chosen = ids[real], chosen[real]
        terms = {}
        if weights["kl"]:
            assert theirs is not None
            heads = self.head, self.teacher.head
            soft, hard = vocabulary_losses(hidden, theirs, heads, ids, chosen, self.temperature)
            terms["kl"] = weights["kl"] * soft
            if weights["mlm"]:
                terms["mlm"] = weights["mlm"] * hard
        elif weights["mlm"]:
            (where,) = places(chosen)
            logits = self.head(hidden[where])
            hard = F.cross_entropy(logits.float(), ids[where], reduction="sum")
            terms["mlm"] = weights["mlm"] * hard / max(len(logits), 1)
        if weights["cosine"]:
            assert theirs is not None
            terms["cosine"] = weights["cosine"] * cosine_loss(hidden, theirs)
        return terms

    def head(self, hidden: Tensor) -> Tensor:
        """The student's, (n, d) to (n, V)."""
        return vocabulary_logits(self.student, hidden)


class _Teacher:
    """A frozen masked LM whose head is asked apart from its encoder. No module, so that nothing trains or saves it."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model.eval().requires_grad_(False)
        self.encoder = FrozenTeacher(encoder(model), model.config.num_hidden_layers, [])

    def hidden(self, inputs: Batch) -> Tensor:
        return self.encoder(inputs).hidden[-1]  # (B, L, d)

    def head(self, hidden: Tensor) -> Tensor:
        self.model.to(hidden.device)
        return vocabulary_logits(self.model, hidden)


def general_step(mask: float, mask_id: int, special_ids: list[int], vocabulary: int) -> Step:
    """The step of the corpus phase for `fit`, whose model is a GeneralDistillation: new masks for every batch.

    Args:
        mask: share of the tokens that are predicted.
        mask_id, special_ids, vocabulary: the tokenizer's.
    """

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        hidden = hide_tokens(
            model_inputs(batch), probability=mask, mask_id=mask_id, special_ids=special_ids, vocabulary=vocabulary
        )
        return model(*hidden)

    return step
