"""The BiLSTM over word vectors that finds where in a context the answer to a question stands.

Word vectors → BiLSTM over the question and its context in one sequence → ReLU layer → two logits a word, of a start and
of an end. The first word, [CLS], stands for no answer.

B windows, L words.
"""

from torch import Tensor
from transformers.modeling_outputs import QuestionAnsweringModelOutput
from transformers.models.auto.modeling_auto import AutoModelForQuestionAnswering

from stillhouse.models.bilstm_words import BiLstmOfWords, head
from stillhouse.models.configuration_bilstm import BiLstmConfig


class BiLstmForQuestionAnswering(BiLstmOfWords):
    """The model of the module's text."""

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__(config)
        self.qa_outputs = head(config, 2)
        self.complete()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object
    ) -> QuestionAnsweringModelOutput:
        """Start and end logits, (B, L) each, of token ids and mask, (B, L) each."""
        start, end = self.qa_outputs(self.states(input_ids, attention_mask)).unbind(-1)
        return QuestionAnsweringModelOutput(start_logits=start, end_logits=end)


AutoModelForQuestionAnswering.register(BiLstmConfig, BiLstmForQuestionAnswering)
