"""The tokenizer of whole words."""

import pytest

from stillhouse.encoders.checkpoint import load_tokenizer
from stillhouse.errors import InputError
from stillhouse.text.word_tokenizer import count_words, word_spans, word_tokenizer

TEXTS = ["The film isn't good, it isn't.", "A film of 3.5 hours", "the THE l’amour été"]


def tokens(text: str, tokenizer=None) -> list[str]:
    tokenizer = tokenizer or word_tokenizer(TEXTS, size=100, least=1, mask="[MASK]")
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


def test_words_are_lower_cased_apostrophes_stay_inside_and_punctuation_stands_alone():
    assert tokens("The film isn't good, été l’amour 3.5 hours.") == [
        *("the", "film", "isn't", "good", ",", "été", "l’amour", "3", ".", "5", "hours", "."),
        "[SEP]",
    ]


def test_what_counts_as_a_word_is_the_same_to_the_counter_and_to_the_tokenizer():
    text = "np.array(x_1)[0]: don't… “quoted” naïve — 中文 ok!"
    cut = [text[start:end] for start, end in word_spans(text)]
    tokenizer = word_tokenizer([text], size=100, least=1, mask="[MASK]")
    assert tokens(text, tokenizer)[:-1] == [word.lower() for word in cut]
    assert set(cut) == set(count_words([text]))


def test_the_most_frequent_words_are_kept_rare_ones_and_the_rest_are_the_masks_token():
    tokenizer = word_tokenizer(TEXTS, size=100, least=2, mask="<mask>")
    assert set(tokenizer.get_vocab()) == {"[PAD]", "<mask>", "[SEP]", "the", "film", "isn't", "."}
    assert tokens("the unseen film <mask>.", tokenizer) == ["the", "<mask>", "film", "<mask>", ".", "[SEP]"]
    assert tokenizer.pad_token_id == 0 and tokenizer.unk_token_id == tokenizer.mask_token_id == 1
    few = word_tokenizer(TEXTS, size=4, least=1, mask="[MASK]")
    assert few.get_vocab() == {"[PAD]": 0, "[MASK]": 1, "[SEP]": 2, "the": 3}


def test_the_order_of_the_texts_does_not_change_the_vocabulary():
    here = word_tokenizer(TEXTS, size=9, least=1, mask="[MASK]").get_vocab()
    assert here == word_tokenizer(TEXTS[::-1], size=9, least=1, mask="[MASK]").get_vocab()


def test_a_pair_is_one_sequence_whose_types_tell_the_sides():
    tokenizer = word_tokenizer(TEXTS, size=100, least=1, mask="[MASK]")
    pair = tokenizer("a film", "it isn't good")
    assert tokenizer.convert_ids_to_tokens(pair["input_ids"]) == ["a", "film", "[SEP]", "it", "isn't", "good", "[SEP]"]
    assert pair["token_type_ids"] == [0, 0, 0, 1, 1, 1, 1]
    cut = tokenizer("a film", "it isn't good", truncation=True, max_length=6)
    assert cut["token_type_ids"] == [0, 0, 0, 1, 1, 1]
    assert tokenizer("")["input_ids"] == [tokenizer.sep_token_id]


def test_it_is_read_back_from_its_folder(tmp_path):
    tokenizer = word_tokenizer(TEXTS, size=100, least=1, mask="[MASK]")
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "stillhouse-bilstm"}')
    (tmp_path / "model.safetensors").touch()
    back = load_tokenizer(tmp_path)
    for text in (*TEXTS, "[MASK], unseen"):
        assert back(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_texts_without_words_are_refused():
    with pytest.raises(InputError, match="vocabulary = 100, min_count = 9: no word"):
        word_tokenizer(TEXTS, size=100, least=9, mask="[MASK]")
