"""A one-layer bidirectional LSTM over word vectors that finds where in a context the answer to a question stands.

Ours: Tang et al. 2019 (arXiv 1903.12136) classify. Word vectors → BiLSTM over the question and its context in one
sequence → ReLU layer → two logits a word, of a start and of an end. The first word, [CLS], stands for no answer.

B windows, L words, E width of the word vectors, H units in each direction.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import QuestionAnsweringModelOutput
from transformers.models.auto.modeling_auto import AutoModelForQuestionAnswering

from stillhouse.models.configuration_bilstm import BiLstmConfig


class BiLstmForQuestionAnswering(PreTrainedModel):
    """The model of the module's text."""

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
        self.qa_outputs = nn.Sequential(
            nn.Linear(config.hidden_size * 2, config.dense_size),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dense_size, 2),
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        assert isinstance(value, nn.Embedding)
        self.embeddings = value

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object
    ) -> QuestionAnsweringModelOutput:
        """Start and end logits, (B, L) each, of token ids and mask, (B, L) each."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        words = self.dropout(self.embeddings(input_ids))  # (B, L, E)
        # Reversed within each row's own length, and reversed back; what stands past it, nothing reads.
        places = torch.arange(input_ids.shape[1], device=mask.device)[None]
        back = (mask.sum(1, keepdim=True) - 1 - places).clamp(min=0)  # (B, L)
        ahead = self.forwards(words)[0]
        behind = _ordered(self.backwards(_ordered(words, back))[0], back)
        start, end = self.qa_outputs(torch.cat([ahead, behind], dim=-1)).unbind(-1)
        return QuestionAnsweringModelOutput(start_logits=start, end_logits=end)


def _ordered(states: Tensor, order: Tensor) -> Tensor:
    """States (B, L, d) in another order, (B, L), of their places."""
    return states.gather(1, order[:, :, None].expand(-1, -1, states.shape[2]))


AutoModelForQuestionAnswering.register(BiLstmConfig, BiLstmForQuestionAnswering)
