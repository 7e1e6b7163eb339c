"""Windows on sentences: every word counts once, where the most is seen around it."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from stillhouse.errors import InputError
from stillhouse.tagging.logits import regrouped, word_logits
from stillhouse.tagging.outcomes import WORDS
from stillhouse.tagging.windows import NO_WORD, cut_windows, first_pieces
from stillhouse.tagging.words import word_spans
from stillhouse.training.batches import collate, model_inputs
from stillhouse.training.losses import NO_OUTCOME, task_loss
from tests import tiny


def windows(texts: list[str], max_length: int, overlap: int, tokenizer=None) -> dict:
    spans = [word_spans(text) for text in texts]
    return cut_windows(texts, spans, tokenizer or tiny.tokenizer(), max_length=max_length, overlap=overlap)


def counted(found: dict) -> list[list[int]]:
    return [[word for word in words if word != NO_WORD] for words in found["words"]]


@pytest.mark.parametrize(("max_length", "overlap"), [(5, 0), (6, 2), (7, 3), (9, 6), (40, 4)])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 30])
def test_every_word_counts_once_and_in_order(count: int, max_length: int, overlap: int) -> None:
    text = " ".join(tiny.WORDS[i % len(tiny.WORDS)] for i in range(count))
    found = windows([text], max_length, overlap)
    assert sorted(word for words in counted(found) for word in words) == list(range(count))
    assert all(len(ids) <= max_length for ids in found["input_ids"])
    assert all(ids[0] == 2 and ids[-1] == 3 for ids in found["input_ids"]), "[CLS] and [SEP]"
    for ids, words in zip(found["input_ids"], found["words"], strict=True):
        for token, word in zip(ids, words, strict=True):
            if word != NO_WORD:
                assert tiny.tokenizer().convert_ids_to_tokens(token) == text.split()[word]


def test_a_word_counts_where_the_most_is_seen_around_it() -> None:
    # Six words to a window, four shared: words 2 to 5 are in the first two.
    found = windows([" ".join(tiny.WORDS[:10])], 8, 4)
    assert counted(found) == [[0, 1, 2, 3], [4, 5], [6, 7, 8, 9]]


def test_a_word_of_pieces_is_not_cut_and_counts_at_its_first() -> None:
    core = Tokenizer(
        models.WordPiece({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "##b": 5}, unk_token="[UNK]")
    )
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
    found = windows(["a abb ab a"], 6, 0, tokenizer)
    assert found["input_ids"] == [[2, 4, 4, 5, 5, 3], [2, 4, 5, 4, 3]]
    assert found["words"] == [[-1, 0, 1, -1, -1, -1], [-1, 2, -1, 3, -1]]
    long = windows(["abbbbbbb a"], 6, 0, tokenizer)  # its first pieces alone are read
    assert long["input_ids"] == [[2, 4, 5, 5, 5, 3], [2, 4, 3]] and counted(long) == [[0], [1]]


def test_bytes_of_one_sign_and_spaces_before_words_are_no_words_of_their_own() -> None:
    alphabet = {
        token: i for i, token in enumerate(["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())])
    }
    core = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", cls_token="<s>", sep_token="</s>")
    found = windows(["ab 😂 c"], 40, 0, tokenizer)
    assert counted(found) == [[0, 1, 2]]
    pieces = tokenizer.convert_ids_to_tokens(found["input_ids"][0])
    at = {word: pieces[place] for place, word in enumerate(found["words"][0]) if word != NO_WORD}
    assert at[0] == "a" and at[2] == "c" and len(pieces) == 2 + 2 + 1 + 4 + 1 + 1


def test_a_word_without_pieces_counts_nowhere() -> None:
    assert first_pieces("a \u200b b", [(0, 1), (2, 3), (4, 5)], [(0, 1), (4, 5)]) == [0, 2]
    found = windows(["film \u0001 good", "\u0001"], 10, 0)
    assert counted(found) == [[0, 2]] and found["example"] == [0]


def test_a_window_without_room_is_refused() -> None:
    with pytest.raises(
        InputError, match="max_length = 6 has no room for 2 special tokens and more than an overlap of 4"
    ):
        windows(["film"], 6, 4)


def batch_of(texts: list[str], max_length: int = 10, overlap: int = 2) -> tuple[dict, Dataset]:
    found = windows(texts, max_length, overlap)
    found["label"] = [
        [tiny.TAGS.index(tiny.tags_of(texts[row])[word]) for word in words]
        for row, words in zip(found["example"], counted(found), strict=True)
    ]
    rows = Dataset.from_dict(found)
    return collate([rows[i] for i in range(len(rows))], 0), rows


def test_the_loss_is_the_mean_over_words_whatever_the_batch() -> None:
    texts = tiny.sentences(9, seed=4)[0]
    batch, rows = batch_of(texts)
    model = tiny.tagger(seed=1)
    with torch.no_grad():
        ours = task_loss(WORDS.predicted(model(**model_inputs(batch)), batch), WORDS.labels(batch))
        losses = []
        for row in rows:
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
            places = [place for place, word in enumerate(row["words"]) if word != NO_WORD]
            losses += F.cross_entropy(logits[places], torch.tensor(row["label"]), reduction="none").tolist()
    assert len(losses) == sum(len(text.split()) for text in texts)
    assert ours.item() == pytest.approx(np.mean(losses), abs=1e-5)


def test_what_a_teacher_says_stands_beside_its_word() -> None:
    batch, rows = batch_of(tiny.sentences(7, seed=5)[0])
    model = tiny.tagger(seed=2)
    said = word_logits(model, rows, tiny.tokenizer(), batch_size=3)
    taught = rows.add_column("teacher_logits", [each.tolist() for each in said])
    both = collate([taught[i] for i in range(len(taught))], 0)
    with torch.no_grad():
        wanted = WORDS.predicted(model(**model_inputs(batch)), batch)
    torch.testing.assert_close(WORDS.taught(both), wanted, atol=1e-5, rtol=1e-5)
    several = rows.add_column("teacher_logits", [np.stack([each, -each], axis=1).tolist() for each in said])
    two = WORDS.taught(collate([several[i] for i in range(len(several))], 0))  # (N, 2, C)
    torch.testing.assert_close(two, torch.stack([wanted, -wanted], dim=1), atol=1e-5, rtol=1e-5)


def test_windows_of_another_tokenizer_are_regrouped_by_words() -> None:
    said = [np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32), np.array([[5.0, 6.0]], dtype=np.float32)]
    theirs = ([0, 0], [[-1, 0, 1, -1], [-1, -1, 3, -1]])  # word 2 has no piece there
    ours = ([0, 0], [[-1, 0, -1], [-1, 1, 2, 3, -1]])
    first, second = regrouped(said, theirs, ours)
    assert first.tolist() == [[1, 2]]
    assert second[0].tolist() == [3, 4] and second[2].tolist() == [5, 6]
    assert (second[1] == np.float32(NO_OUTCOME)).all()
