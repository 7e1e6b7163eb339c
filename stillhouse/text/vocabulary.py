"""Which pieces of a tokenizer's vocabulary are whole words that may stand in for another word."""

from transformers import PreTrainedTokenizerBase

from stillhouse.text.words import is_content_word

WORD_STARTS = ("Ġ", "▁")  # byte-level BPE and SentencePiece mark pieces that start a word; WordPiece marks the others


def vocabulary_words(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Piece id -> word, ordered by id: no special tokens, no inner pieces (##ing), no [unused7], no stop words."""
    special = set(tokenizer.all_special_ids)
    pieces = {i: piece for piece, i in tokenizer.get_vocab().items() if i not in special}
    mark = next((m for m in WORD_STARTS if any(piece.startswith(m) for piece in pieces.values())), "")
    words = {}
    for i in sorted(pieces):
        # Bytes become letters again in the decoder: "ĠcafÃ©" is " café".
        word = tokenizer.convert_tokens_to_string([pieces[i]]).strip() if mark else pieces[i]
        if pieces[i].startswith(mark) and is_content_word(word):
            words[i] = word
    return words
