"""What an encoder's layers cost, from its shape alone: the same number on every machine, known before it is built."""

from stillhouse.families.find import COMPACT_FAMILIES
from stillhouse.models.shape import Shape


def layer_flops(shape: Shape, tokens: int) -> int:
    """Floating point operations of all layers for one sentence, two a multiply-add, matrix products only.

    For BERT with n layers, width d, FFN width i, L tokens: n·(8·L·d² + 4·L·d·i + 4·L²·d). Embeddings and head are left
    out, but for the matrix of factorized word vectors, and so are positions relative to each other. What is shared is
    computed, and counted, each time.

    Args:
        tokens: of the sentence.
    """
    d, family = shape.hidden_size, COMPACT_FAMILIES[shape.family]
    total = 0 if shape.embedding_size == d else 2 * tokens * shape.embedding_size * d
    for layer in range(shape.layers):
        for used, matrices in ((shape.attention_of, family.attention), (shape.ffn_of, family.ffn)):
            for matrix in matrices:
                if matrix.optional:
                    continue
                m, n = shape.size(matrix.outputs, layer), shape.size(matrix.inputs, layer)
                rank = shape.ranks.get(f"{used[layer]}.{matrix.name}")
                total += 2 * tokens * (m * n if rank is None else rank * (m + n))
        total += 4 * tokens**2 * shape.size("heads", layer)  # the scores, and the context from them
    return total
