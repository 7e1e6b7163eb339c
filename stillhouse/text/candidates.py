"""Candidates for a word in its text: what a masked language model would put there, or its nearest neighbours.

The masked sentences of many texts are run in batches of similar length, and the vocabulary's logits are computed at the
masked position only. A batch is decided by the places that are asked for together, so the same request gives the same
answer; candidates come in the vocabulary's order, so that rounding can matter only at the K-th place.

B masked sentences, V vocabulary, K candidates.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.fits import longest_of
from stillhouse.errors import InputError
from stillhouse.text.likely_words import Place
from stillhouse.text.vocabulary import vocabulary_words
from stillhouse.text.word_vectors import WordVectors
from stillhouse.training.autocast import computing_in
from stillhouse.training.batches import collate
from stillhouse.training.masking import logits_at


@dataclass(frozen=True)
class Cloze:
    """A sentence with one piece masked."""

    ids: list[int]  # with special tokens, masked
    position: int
    piece: int  # what stood there


class Candidates:
    """Finds candidates; `find` is what `stillhouse.text.likely_words` calls.

    Args:
        model: a masked LM, in eval mode.
        tokenizer: its tokenizer.
        vectors: for words of several pieces.
        count: K.
        batch_size: masked sentences a forward pass; in fp32 it changes nothing but time and memory.
        max_length: tokens of context around the masked word, special tokens included.
        precision: fp32 | bf16 | fp16, what products are computed in. Lower ones are quicker where the hardware has
            them, and may exchange the K-th likeliest word for the next.

    Raises:
        InputError: a tokenizer without a mask token or of another model, K above the vocabulary, too long a context.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        vectors: WordVectors,
        *,
        count: int,
        batch_size: int,
        max_length: int,
        precision: str = "fp32",
    ) -> None:
        size: int = model.get_input_embeddings().num_embeddings  # type: ignore[assignment]
        if tokenizer.mask_token_id is None:
            raise InputError("the masked LM's tokenizer has no mask token: give the checkpoint of a masked LM")
        if max(tokenizer.get_vocab().values()) >= size:
            raise InputError(f"the masked LM has {size} embeddings, its tokenizer {len(tokenizer)} tokens: not its own")
        words = vocabulary_words(tokenizer)
        if count >= len(words):
            raise InputError(
                f"augment.candidates = {count}: the masked LM's vocabulary has {len(words)} whole words: lower it"
            )
        longest = longest_of(model.config.to_dict())
        if longest is not None and max_length > longest:
            raise InputError(f"augment.max_length = {max_length}: the masked LM takes {longest} tokens: lower it")
        self.model = model
        self.tokenizer = tokenizer
        self.vectors = vectors
        self.count = count
        self.batch_size = batch_size
        self.max_length = max_length
        self.precision = precision
        self.words = words
        self.lower = {i: word.lower() for i, word in words.items()}
        outputs: int = model.get_output_embeddings().out_features
        self.barred = torch.ones(outputs, dtype=torch.bool)  # (V,)
        self.barred[list(words)] = False
        self.barred = self.barred.to(model.device)

    def find(self, places: Sequence[Place]) -> list[list[str]]:
        """The candidates of each place: K, or fewer, or none for a word that no vector is known of."""
        encoded = self._encode(list(dict.fromkeys(text for text, _, _ in places)))
        found: list[list[str]] = [[] for _ in places]
        single: dict[int, Cloze] = {}
        several: dict[str, list[int]] = {}
        for i, (text, start, end) in enumerate(places):
            pieces = encoded[text].pieces(start, end)
            if len(pieces) == 1:
                single[i] = self._cloze(encoded[text].ids, pieces[0])
            elif pieces:
                several.setdefault(text[start:end], []).append(i)
        order = sorted(single, key=lambda i: (len(single[i].ids), i))
        for first in range(0, len(order), self.batch_size):
            batch = order[first : first + self.batch_size]
            words = [places[i][0][places[i][1] : places[i][2]] for i in batch]
            for i, candidates in zip(batch, self._likely([single[i] for i in batch], words), strict=True):
                found[i] = candidates
        for word, candidates in zip(several, self.vectors.nearest(list(several), self.count), strict=True):
            for i in several[word]:
                found[i] = candidates
        return found

    def _encode(self, texts: list[str]) -> dict[str, "Encoded"]:
        if not texts:
            return {}
        tokens = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        pairs = zip(tokens["input_ids"], tokens["offset_mapping"], strict=True)
        return {text: Encoded(text, ids, offsets) for text, (ids, offsets) in zip(texts, pairs, strict=True)}

    def _cloze(self, ids: list[int], at: int) -> Cloze:
        width = self.max_length - 2
        first = max(0, min(at - width // 2, len(ids) - width))  # a long text is cut around the word
        window = ids[first : first + width]
        window[at - first] = self.tokenizer.mask_token_id
        return Cloze([self.tokenizer.cls_token_id, *window, self.tokenizer.sep_token_id], at - first + 1, ids[at])

    @torch.inference_mode()
    def _likely(self, clozes: list[Cloze], words: list[str]) -> list[list[str]]:
        rows = [{"input_ids": cloze.ids} for cloze in clozes]
        batch = collate(rows, self.tokenizer.pad_token_id)
        batch = {name: tensor.to(self.model.device) for name, tensor in batch.items()}
        where = torch.arange(len(clozes)), torch.tensor([cloze.position for cloze in clozes])
        with computing_in(self.model.device.type, self.precision):
            logits: Tensor = logits_at(self.model, batch, where)  # (B, V)
        logits = logits.float().masked_fill(self.barred, -torch.inf)
        own = torch.tensor([cloze.piece for cloze in clozes], device=logits.device)
        logits.scatter_(1, own[:, None], -torch.inf)
        # One more than K: a cased vocabulary may hold the word in another casing too.
        best = logits.topk(self.count + 1).indices.tolist()
        out = []
        for ids, word in zip(best, words, strict=True):
            kept = [i for i in ids if i in self.lower and self.lower[i] != word.lower()][: self.count]
            out.append([self.words[i] for i in sorted(kept)])
        return out


class Encoded:
    """A text's pieces and where they stand."""

    def __init__(self, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> None:
        self.ids = ids
        # Some tokenizers count the space before a word to its first piece.
        self.starts = [a + (len(text[a:b]) - len(text[a:b].lstrip())) for a, b in offsets]
        self.ends = [b for _, b in offsets]

    def pieces(self, start: int, end: int) -> range:
        """Indices of the pieces that make up exactly this span; empty if pieces reach beyond it."""
        first, last = bisect_left(self.starts, start), bisect_left(self.starts, end)
        whole = first < last and self.starts[first] == start and self.ends[last - 1] == end
        return range(first, last) if whole else range(0)
