import random
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

from stillhouse.errors import InputError
from stillhouse.text.candidates import Candidates, Encoded
from stillhouse.text.likely_words import Place
from stillhouse.text.vocabulary import vocabulary_words
from stillhouse.text.word_vectors import EmbeddingVectors, WordVectors, read_word_vectors
from stillhouse.text.words import content_word_spans
from tests.tiny_mlm import FUNCTION, PIECES, SPECIAL, VOCABULARY, WHOLE, masked_lm, sentences, tokenizer


def finder(count: int = 5, batch_size: int = 8, max_length: int = 32, **more: str) -> Candidates:
    model, coder = masked_lm(), tokenizer()
    vectors = EmbeddingVectors(model, coder)
    return Candidates(model, coder, vectors, count=count, batch_size=batch_size, max_length=max_length, **more)


def places(count: int = 30) -> list[Place]:
    return [(text, *span) for text in sentences(count) for span in content_word_spans(text)]


def test_candidates_are_k_whole_words_and_never_the_word_itself() -> None:
    wanted = places()
    found = finder(count=5).find(wanted)
    barred = {*SPECIAL, *PIECES, *FUNCTION}
    for (text, start, end), candidates in zip(wanted, found, strict=True):
        assert len(set(candidates)) == 5
        assert not barred & set(candidates)
        assert text[start:end].lower() not in candidates
        assert set(candidates) <= set(WHOLE)


def test_candidates_of_a_word_of_one_piece_are_the_likeliest_of_the_full_computation() -> None:
    model, coder = masked_lm(), tokenizer()
    source = finder(count=5)
    for text, start, end in places(12):
        if text[start:end].lower() not in WHOLE:
            continue
        masked = text[:start] + "[MASK]" + text[end:]
        tokens = coder(masked, return_tensors="pt")
        at = (tokens["input_ids"][0] == coder.mask_token_id).nonzero().item()
        with torch.no_grad():
            logits = model(**tokens).logits[0, at]
        ranked = [VOCABULARY[i] for i in logits.argsort(descending=True).tolist()]
        expected = [word for word in ranked if word in WHOLE and word != text[start:end].lower()][:5]
        [found] = source.find([(text, start, end)])
        assert sorted(found) == sorted(expected)


def test_in_bf16_most_candidates_stay_and_those_that_do_not_were_about_as_likely() -> None:
    wanted = places()
    exact, wider = finder(count=5).find(wanted), finder(count=8).find(wanted)
    rounded = finder(count=5, precision="bf16").find(wanted)
    shares = [len({*one} & {*other}) / len(one) for one, other in zip(rounded, exact, strict=True)]
    assert sum(shares) / len(shares) > 0.9
    assert all(set(one) <= set(other) for one, other in zip(rounded, wider, strict=True))


def test_candidates_do_not_depend_on_the_batch_size() -> None:
    wanted = places()
    reference = finder(batch_size=1).find(wanted)
    assert finder(batch_size=7).find(wanted) == reference
    assert finder(batch_size=64).find(wanted) == reference


def test_candidates_of_a_word_of_several_pieces_are_neighbours_of_the_mean_of_its_embeddings() -> None:
    model, coder = masked_lm(), tokenizer()
    table = model.get_input_embeddings().weight.detach()
    whole = [VOCABULARY.index(word) for word in WHOLE]
    mean = table[[VOCABULARY.index("warm"), VOCABULARY.index("##er")]].mean(dim=0)
    similarity = torch.nn.functional.cosine_similarity(mean[None], table[whole])
    expected = [WHOLE[i] for i in similarity.argsort(descending=True).tolist()][:5]
    assert finder(count=5).find([("a warmer film", 2, 8)]) == [expected]
    assert EmbeddingVectors(model, coder).nearest(["warmer"], 5) == [expected]


def test_a_word_beyond_the_context_is_masked_in_the_middle_of_its_own_window() -> None:
    text = " ".join(random.Random(1).choices(WHOLE, k=300))
    spans = content_word_spans(text)
    source = finder(max_length=12)
    found = source.find([(text, *span) for span in spans])
    assert all(len(candidates) == 5 for candidates in found)
    start, end = spans[150]
    near = text[spans[145][0] : spans[154][1]]  # the ten pieces of the window
    offset = spans[145][0]
    assert found[150] == source.find([(near, start - offset, end - offset)])[0]


def test_a_word_that_the_tokenizer_does_not_cut_out_has_no_candidates() -> None:
    text = "a [MASK] film"
    assert finder().find([(text, 3, 7)]) == [[]]


def test_pieces_are_found_when_offsets_include_the_space_before_a_word() -> None:
    encoded = Encoded("a warm film", [1, 2, 3], [(0, 1), (1, 6), (6, 11)])
    assert list(encoded.pieces(2, 6)) == [1]
    assert list(encoded.pieces(3, 6)) == []


def test_byte_level_vocabularies_give_the_words_that_start_with_a_space() -> None:
    pieces = {"<s>": 0, "</s>": 1, "<mask>": 2, "Ġfilm": 3, "film": 4, "Ġcaf": 5, "ĠcafÃ©": 6, "Ġthe": 7, "s": 8}
    core = Tokenizer(models.BPE(pieces, []))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    coder = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", mask_token="<mask>")
    assert vocabulary_words(coder) == {3: "film", 5: "caf", 6: "café"}


def test_more_candidates_than_words_are_refused() -> None:
    with pytest.raises(InputError, match=r"augment.candidates = 17: .* 17 whole words"):
        finder(count=17)


def test_a_context_longer_than_the_model_takes_is_refused() -> None:
    with pytest.raises(InputError, match=r"augment.max_length = 49: .* 48 tokens"):
        finder(max_length=49)


def test_a_family_whose_positions_begin_later_takes_as_many_fewer() -> None:
    coder = tokenizer()
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = RobertaConfig(vocab_size=len(coder), max_position_embeddings=48, pad_token_id=1, **shape)
    model = RobertaForMaskedLM(config).eval()

    def candidates(max_length: int) -> Candidates:
        vectors = EmbeddingVectors(model, coder)
        return Candidates(model, coder, vectors, count=3, batch_size=4, max_length=max_length)

    assert candidates(46).max_length == 46
    with pytest.raises(InputError, match=r"augment.max_length = 47: the masked LM takes 46 tokens"):
        candidates(47)


def test_another_models_tokenizer_is_refused() -> None:
    model, coder = masked_lm(), tokenizer()
    vectors = EmbeddingVectors(model, coder)
    coder.add_tokens(["brandnew"])
    with pytest.raises(InputError, match="its tokenizer 38 tokens"):
        Candidates(model, coder, vectors, count=3, batch_size=4, max_length=16)


# ------------------------------------------------------------------ word vectors


def table(file: Path, rows: int = 300, width: int = 8) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    words = ["z" + "".join("abcdefghij"[int(c)] for c in str(i)) for i in range(rows)]
    vectors = {word: draw.normal(size=width).round(4) for word in words}
    file.write_text("".join(f"{word} {' '.join(map(str, vector))}\n" for word, vector in vectors.items()))
    return vectors


def test_nearest_words_match_brute_force(tmp_path: Path) -> None:
    vectors = table(tmp_path / "glove.txt")
    found = read_word_vectors(tmp_path / "glove.txt")
    queries = list(vectors)[:70]
    for query, neighbours in zip(queries, found.nearest(queries, 9), strict=True):

        def cosine(word: str, to: np.ndarray = vectors[query]) -> float:
            return float(vectors[word] @ to / np.linalg.norm(vectors[word]) / np.linalg.norm(to))

        assert neighbours == sorted(set(vectors) - {query}, key=cosine, reverse=True)[:9]


def test_vectors_are_found_by_lower_case_and_unknown_words_have_no_neighbours(tmp_path: Path) -> None:
    vectors = table(tmp_path / "glove.txt")
    found = read_word_vectors(tmp_path / "glove.txt")
    word = next(iter(vectors))
    capital, known, unknown = found.nearest([word.upper(), word, "unheard"], 3)
    assert capital == known
    assert unknown == []


def test_stop_words_numbers_and_words_with_spaces_are_read_over(tmp_path: Path) -> None:
    file = tmp_path / "vectors.txt"
    file.write_text("3 2\nthe 1 0\nfilm 1 1\nat name.com 1 2\n1984 2 2\nmovie 1 0.9")
    assert read_word_vectors(file).words == ["film", "movie"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["film 1 2 3", "movie 1 2"], "line 2: 2 numbers where line 1 has 3"),
        (["film 1 2 3", "movie 1 2 3", "plot 1 x 3"], "line 3: not all numbers"),
        (["film 1 2 3", "movie 1 2 nan"], "line 2: a number is not finite"),
        (["film"], "line 1: expected a word and its numbers"),
        (["film 1 2 3", ""], "line 2: 0 numbers where line 1 has 3"),
        ([""], "line 1: expected a word and its numbers"),
        (["the 1 2"], "none of the words in it"),
    ],
)
def test_a_broken_vector_file_is_refused_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    file = tmp_path / "glove.txt"
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=message):
        read_word_vectors(file)


def test_a_missing_vector_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"augment.word_vectors = '.*none.txt': no such file"):
        read_word_vectors(tmp_path / "none.txt")


def test_all_neighbours_are_other_words_when_k_is_all() -> None:
    vectors = WordVectors(["one", "two", "Two", "ten"], torch.eye(4))
    assert sorted(vectors.nearest(["two"], 10)[0]) == ["one", "ten"]
