"""Which pieces a tokenizer needs to cut every text, and the one that has no others."""

from tokenizers import AddedToken, Tokenizer, models, processors
from transformers import PreTrainedTokenizerFast

from stillhouse.text.trimming import needed_pieces, trim_tokenizer


def test_what_bpe_needs_on_the_way_to_a_piece_stays():
    vocabulary = {piece: i for i, piece in enumerate(["<s>", "a", "b", "c", "d", "ab", "cd", "abcd", "bc"])}
    merges = [("a", "b"), ("b", "c"), ("c", "d"), ("ab", "cd")]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocabulary, merges)), bos_token="<s>")
    keep = needed_pieces(tokenizer, [vocabulary["abcd"]])
    assert tokenizer.convert_ids_to_tokens(keep) == ["<s>", "a", "b", "c", "d", "ab", "cd", "abcd"]
    ours = trim_tokenizer(tokenizer, keep)
    assert ours.tokenize("abcd") == ["abcd"] and ours.tokenize("dbcd") == ["d", "b", "cd"]


def test_marks_before_and_behind_a_bpe_piece_are_known():
    vocabulary = {piece: i for i, piece in enumerate(["a", "##b", "##c", "##c</w>", "##bc</w>", "abc</w>", "##b</w>"])}
    merges = [("##b", "##c</w>"), ("a", "##bc</w>")]
    marks = {"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocabulary, merges, **marks)))
    assert tokenizer.tokenize("abc") == ["abc</w>"]
    keep = needed_pieces(tokenizer, [vocabulary["abc</w>"]])
    assert len(keep) == len(vocabulary)  # the way to it, and single letters
    fewer = needed_pieces(tokenizer, [])
    assert tokenizer.convert_ids_to_tokens(fewer) == ["a", "##b", "##c", "##c</w>", "##b</w>"]
    assert trim_tokenizer(tokenizer, fewer).tokenize("abc") == ["a", "##b", "##c</w>"]


def test_the_lowest_score_of_unigram_stays_for_what_is_unknown_is_scored_by_it():
    scored = [("<unk>", 0.0), ("a", -1.0), ("b", -2.0), ("aa", -30.0), ("bb", -3.0), ("ab", -4.0)]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.Unigram(scored, 0)), unk_token="<unk>")
    assert tokenizer.convert_ids_to_tokens(needed_pieces(tokenizer, [])) == ["<unk>", "a", "b", "aa"]


def test_a_piece_with_a_character_that_is_no_piece_stays():
    ids = {piece: i for i, piece in enumerate(["[UNK]", "a", "##b", "ab", "ax", "##xb"])}
    core = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]")
    assert tokenizer.convert_ids_to_tokens(needed_pieces(tokenizer, [])) == ["[UNK]", "a", "##b", "ax", "##xb"]


def test_what_is_put_around_every_text_stays_though_nobody_calls_it_special():
    ids = {piece: i for i, piece in enumerate(["a", "##a", "aa", "[UNK]", "begin", "end", "none"])}
    core = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    one = processors.TemplateProcessing(single="begin $A", pair="begin $A $B", special_tokens=[("begin", ids["begin"])])
    core.post_processor = processors.Sequence([processors.ByteLevel(), one])
    core.enable_padding(pad_id=ids["none"], pad_token="none")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="none")
    keep = needed_pieces(tokenizer, [])
    assert {"begin", "[UNK]", "none"} < {*tokenizer.convert_ids_to_tokens(keep)}
    ours = trim_tokenizer(tokenizer, keep)
    assert ours.convert_ids_to_tokens(ours(["aa", "a"], padding=True)["input_ids"][1]) == ["begin", "a", "none"]


def test_added_tokens_and_bytes_stay():
    bytes_ = [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    core = Tokenizer(models.Unigram([("<unk>", 0.0), *bytes_, ("a", -1.0), ("aaa", -2.0)], 0, byte_fallback=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")
    tokenizer.add_tokens([AddedToken("<name>"), "<place>"])
    ours = trim_tokenizer(tokenizer, needed_pieces(tokenizer, []))
    assert len(ours) == len(tokenizer) - 1 and "aaa" not in ours.get_vocab()
    assert ours.tokenize("a<name>aé<place>") == ["a", "<name>", "a", "<0xC3>", "<0xA9>", "<place>"]
    assert ours.get_vocab()["<place>"] == len(ours) - 1
