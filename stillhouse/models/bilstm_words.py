"""A one-layer bidirectional LSTM over word vectors with a state at each word, for models that say something of each.

Ours: Tang et al. 2019 (arXiv 1903.12136) classify.

B rows, L words, E width of the word vectors, H units in each direction.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.quantization import Quantization
from stillhouse.models.quantizing import build_quantized


class BiLstmOfWords(PreTrainedModel):
    """The part that such models share; each adds its head."""

    config_class = BiLstmConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        # Two LSTMs of one direction: a bidirectional one would begin its way back in the padding.
        self.forwards = nn.LSTM(config.embedding_size, config.hidden_size, batch_first=True)
        self.backwards = nn.LSTM(config.embedding_size, config.hidden_size, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)

    def complete(self) -> None:
        """What a model does once it has its head: random weights, in eight bits where its config says so."""
        if self.config.quantization:
            build_quantized(self, Quantization.of(self.config.quantization))
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings = value  # type: ignore[assignment]

    def states(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """States (B, L, 2H) of token ids and mask, (B, L) each; what stands at padding, nothing reads."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        words = self.dropout(self.embeddings(input_ids))  # (B, L, E)
        # Reversed within each row's own length, and reversed back.
        places = torch.arange(input_ids.shape[1], device=mask.device)[None]
        back = (mask.sum(1, keepdim=True) - 1 - places).clamp(min=0)  # (B, L)
        ahead = self.forwards(words)[0]
        behind = _ordered(self.backwards(_ordered(words, back))[0], back)
        return torch.cat([ahead, behind], dim=-1)


def head(config: BiLstmConfig, outputs: int) -> nn.Sequential:
    """What reads a state: a ReLU layer, and logits."""
    return nn.Sequential(
        nn.Linear(config.hidden_size * 2, config.dense_size),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.dense_size, outputs),
    )


def _ordered(states: Tensor, order: Tensor) -> Tensor:
    """States (B, L, d) in another order, (B, L), of their places."""
    return states.gather(1, order[:, :, None].expand(-1, -1, states.shape[2]))
