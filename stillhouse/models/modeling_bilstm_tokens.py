"""The BiLSTM over word vectors that gives each word a label.

Word vectors → BiLSTM over the sentence → ReLU layer → logits of each word.

B windows, L words, C labels.
"""

from torch import Tensor
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.models.auto.modeling_auto import AutoModelForTokenClassification

from stillhouse.models.bilstm_words import BiLstmOfWords, head
from stillhouse.models.configuration_bilstm import BiLstmConfig


class BiLstmForTokenClassification(BiLstmOfWords):
    """The model of the module's text."""

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.classifier = head(config, config.num_labels)  # type: ignore[arg-type]
        self.complete()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object) -> TokenClassifierOutput:
        """Logits (B, L, C) of token ids and mask, (B, L) each."""
        return TokenClassifierOutput(logits=self.classifier(self.states(input_ids, attention_mask)))


AutoModelForTokenClassification.register(BiLstmConfig, BiLstmForTokenClassification)
