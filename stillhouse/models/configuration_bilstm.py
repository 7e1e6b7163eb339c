"""The shape of a BiLSTM classifier: see `stillhouse.models.modeling_bilstm`."""

from typing import Any

from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import AutoConfig


class BiLstmConfig(PreTrainedConfig):
    """Shape of a `BiLstmForSequenceClassification`.

    Args:
        vocab_size: V.
        embedding_size: E, width of the word vectors.
        hidden_size: H, units in each direction.
        dense_size: units of the ReLU layer.
        pair: whether it reads pairs of sentences.
        dropout: of the word vectors and of the ReLU layer.
        initializer_range: standard deviation of random word vectors and matrices, the LSTM's apart.
        pad_token_id: its word vector is 0.
        quantization: fields of `stillhouse.models.quantization.Quantization`; None in full precision.
        rest: what every config has, such as the labels.
    """

    model_type = "stillhouse-bilstm"

    def __init__(
        self,
        vocab_size: int = 2,
        embedding_size: int = 300,
        hidden_size: int = 150,
        dense_size: int = 200,
        pair: bool = False,
        dropout: float = 0.0,
        initializer_range: float = 0.1,
        pad_token_id: int = 0,
        type_vocab_size: int = 2,
        quantization: dict[str, Any] | None = None,
        **rest,
    ) -> None:
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.dense_size = dense_size
        self.pair = pair
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.pad_token_id = pad_token_id
        self.type_vocab_size = type_vocab_size
        self.quantization = quantization
        super().__init__(**rest)


AutoConfig.register(BiLstmConfig.model_type, BiLstmConfig)
