"""A one-layer bidirectional LSTM over word vectors that classifies a sentence, or a pair of sentences (siamese).

Tang et al. 2019 (arXiv 1903.12136), section 3.1. Word vectors → BiLSTM → the two final states h = [h→, h←] → ReLU layer
→ logits; for pairs the same BiLSTM reads each side and the ReLU layer takes [h1, h2, h1⊙h2, |h1−h2|].

It reads what the tokenizer of `stillhouse.text.word_tokenizer` gives: for a pair one sequence, whose token types tell
the two sides; each side ends in a separator, which is not read. Padding changes nothing: the backward LSTM reads each
sentence reversed within its own length, and the final states are those at the last word. An empty sentence has the
state 0.

B sentences or pairs, L tokens, K words of the longest side, E width of the word vectors, H units in each direction.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.auto.modeling_auto import AutoModelForSequenceClassification

from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.quantization import Quantization
from stillhouse.models.quantizing import build_quantized


class BiLstmForSequenceClassification(PreTrainedModel):
    """The model of the module's text."""

    config_class = BiLstmConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        # Two LSTMs of one direction: a bidirectional one would begin its way back in the padding.
        self.forwards = nn.LSTM(config.embedding_size, config.hidden_size, batch_first=True)
        self.backwards = nn.LSTM(config.embedding_size, config.hidden_size, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Sequential(
            nn.Linear(config.hidden_size * (8 if config.pair else 2), config.dense_size),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dense_size, config.num_labels),  # type: ignore[arg-type]
        )
        if config.quantization:
            build_quantized(self, Quantization.of(config.quantization))
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings = value  # type: ignore[assignment]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **_: object,
    ) -> SequenceClassifierOutput:
        """Logits (B, C) of token ids, mask and types, (B, L) each."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        if not self.config.pair:
            # Not only type 0: a pair given to a model of single sentences is read to its end.
            return SequenceClassifierOutput(logits=self.classifier(self.encode(input_ids, mask)))
        both = self.encode(
            torch.cat([input_ids, input_ids]), torch.cat([mask * (types == 0), mask * (types == 1)])
        )  # (2B, 2H)
        one, other = both.chunk(2)
        return SequenceClassifierOutput(logits=self.classifier(siamese_features(one, other)))

    def encode(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """The final states [h→, h←], (B, 2H), of one side.

        Args:
            input_ids: (B, L).
            mask: (B, L), 1 on the side's tokens, which stand together; the last of them, its separator, is left out.
        """
        lengths = (mask.sum(1) - 1).clamp(min=0)  # (B,)
        first = mask.argmax(1)  # (B,)
        # Of the tensor, not of its number: the exported graph counts each batch's words anew.
        step = torch.arange(lengths.max().clamp(min=1), device=mask.device)[None]  # type: ignore[call-overload]  # (1, K)
        last = input_ids.shape[1] - 1
        # Past the end of a sentence these repeat some word of the row: nothing reads the states there.
        ahead = (first[:, None] + step).clamp(max=last)  # (B, K)
        back = (first[:, None] + lengths[:, None] - 1 - step).clamp(min=0)  # (B, K)
        orders = ((self.forwards, ahead), (self.backwards, back))
        states = [self.final_state(lstm, input_ids.gather(1, order), lengths) for lstm, order in orders]
        return torch.cat(states, dim=1)

    def final_state(self, lstm: nn.LSTM, words: Tensor, lengths: Tensor) -> Tensor:
        """The state (B, H) after the last word of each row of `words` (B, K)."""
        states = lstm(self.dropout(self.embeddings(words)))[0]  # (B, K, H)
        at = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
        return states.gather(1, at).squeeze(1) * (lengths > 0)[:, None]


def siamese_features(one: Tensor, other: Tensor) -> Tensor:
    """[h1, h2, h1⊙h2, |h1−h2|], (B, 4D) of two (B, D)."""
    return torch.cat([one, other, one * other, (one - other).abs()], dim=1)


AutoModelForSequenceClassification.register(BiLstmConfig, BiLstmForSequenceClassification)
