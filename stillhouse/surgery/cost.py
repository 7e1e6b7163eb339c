"""What an encoder's layers cost, from its shape alone: the same number on every machine, known before it is built."""

from stillhouse.models.shape import ATTENTION, Shape


def layer_flops(shape: Shape, tokens: int) -> int:
    """Floating point operations of all layers for one sentence, two a multiply-add, matrix products only.

    For BERT with n layers, width d, FFN width i, L tokens: n·(8·L·d² + 4·L·d·i + 4·L²·d). Embeddings and head are left
    out, but for the matrix of factorized word vectors. What is shared is computed, and counted, each time.

    Args:
        tokens: of the sentence.
    """
    d = shape.hidden_size
    total = 0 if shape.embedding_size == d else 2 * tokens * shape.embedding_size * d
    for layer in range(shape.layers):
        context, units = shape.heads[layer] * shape.head_size, shape.intermediate[layer]
        wide = {**dict.fromkeys(ATTENTION, context), "intermediate.dense": units, "output.dense": units}
        for name, inner in wide.items():
            owner = (shape.attention_of if name in ATTENTION else shape.ffn_of)[layer]
            rank = shape.ranks.get(f"{owner}.{name}")
            total += 2 * tokens * (d * inner if rank is None else rank * (d + inner))
        total += 4 * tokens**2 * context  # the scores, and the context from them
    return total
