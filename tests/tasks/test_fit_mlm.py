import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, BertForMaskedLM, BertModel

from stillhouse.encoders.checkpoint import load_tokenizer
from stillhouse.encoders.mlm_head import has_mlm_head, start_head
from stillhouse.errors import InputError
from tasks import fit_mlm
from tasks.stage.params import PARAMS, read_yaml
from tests import tiny_mlm

ROOT = Path(__file__).parents[2]
PHASE = {"epochs": 4, "batch_size": 16, "learning_rate": 0.01, "seed": 3}

Run = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Fit a head for a teacher in this process; give the output folder."""
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "cache"))

    def started(teacher: Path, corpus: Path, out: str = "out", **changes: Any) -> Path:
        tree = read_yaml(ROOT / PARAMS)
        tree["teacher"]["model"] = str(teacher)
        tree["train"]["checkpoint_steps"] = 3
        tree["mlm"] |= {"sentences": None, "max_length": 24, "mask": 0.3, "phase": PHASE} | changes
        YAML().dump(tree, tmp_path / "params.yaml")
        paths = ["--corpus", str(corpus), "--out", str(tmp_path / out), "--params", str(tmp_path / "params.yaml")]
        monkeypatch.setattr(sys, "argv", ["fit_mlm", *paths])
        fit_mlm.main()
        return tmp_path / out

    return started


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A teacher without a head, as a sentence encoder is."""
    folder = tmp_path / "encoder"
    BertModel(tiny_mlm.masked_lm().config).save_pretrained(folder)
    tiny_mlm.tokenizer().save_pretrained(folder)
    return folder


def write_corpus(folder: Path, count: int = 400) -> Path:
    """Texts of one word each, again and again, so that a masked word can be told from its neighbours."""
    folder.mkdir()
    draw = torch.Generator().manual_seed(0)
    words = [tiny_mlm.WHOLE[i] for i in torch.randint(8, (count,), generator=draw).tolist()]
    Dataset.from_dict({"text": [" ".join([word] * 6) for word in words]}).to_parquet(folder / "corpus.parquet")
    return folder


def accuracies(output: str) -> tuple[float, float]:
    words = next(line for line in output.splitlines() if line.startswith("masked accuracy")).replace(",", "").split()
    return float(words[words.index("before") - 1]), float(words[words.index("after") - 1])


@pytest.mark.parametrize("encoder_is", ["trained", "frozen"])
def test_a_fitted_head_predicts_better_than_it_started(
    tmp_path: Path, run: Run, encoder: Path, encoder_is: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(encoder, write_corpus(tmp_path / "corpus"), encoder=encoder_is)
    before, after = accuracies(capsys.readouterr().out)
    assert after > before + 0.1
    assert isinstance(AutoModelForMaskedLM.from_pretrained(out), BertForMaskedLM)
    assert has_mlm_head(out)
    assert load_tokenizer(out).get_vocab() == load_tokenizer(encoder).get_vocab()


def test_a_frozen_encoder_and_the_embeddings_under_a_trained_one_stay_the_teachers(
    tmp_path: Path, run: Run, encoder: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus", 40)
    teacher = BertModel.from_pretrained(encoder).state_dict()
    frozen = AutoModelForMaskedLM.from_pretrained(run(encoder, corpus, encoder="frozen")).bert.state_dict()
    assert all(torch.equal(tensor, teacher[name]) for name, tensor in frozen.items())
    trained = AutoModelForMaskedLM.from_pretrained(run(encoder, corpus, encoder="trained")).bert.state_dict()
    changed = {name for name, tensor in trained.items() if not torch.equal(tensor, teacher[name])}
    assert "embeddings.word_embeddings.weight" not in changed
    assert any(name.startswith("encoder.layer.0") for name in changed)


def test_a_teacher_with_a_head_is_copied_as_it_is(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = tiny_mlm.save(tmp_path / "teacher")
    out = run(teacher, write_corpus(tmp_path / "corpus", 40))
    assert "copied as it is" in capsys.readouterr().out
    before, after = load_file(teacher / "model.safetensors"), load_file(out / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, run: Run, encoder: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 40)
    one, other = (run(encoder, corpus, out=name) / "model.safetensors" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_a_stopped_fit_goes_on_from_its_checkpoint_and_ends_with_the_same_bytes(
    tmp_path: Path, run: Run, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = write_corpus(tmp_path / "corpus", 80)
    reference = run(encoder, corpus, out="undisturbed") / "model.safetensors"
    calls = 0
    loss = fit_mlm.masked_lm_loss

    def until_the_ninth(*arguments: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise KeyboardInterrupt
        return loss(*arguments)

    monkeypatch.setattr(fit_mlm, "masked_lm_loss", until_the_ninth)
    with pytest.raises(KeyboardInterrupt):
        run(encoder, corpus)
    assert not (tmp_path / "out").exists()
    again = run(encoder, corpus) / "model.safetensors"
    assert calls == 9 + (4 * 5 - 6)  # checkpoints are 3 steps apart
    assert again.read_bytes() == reference.read_bytes()


def test_a_new_head_starts_at_the_frequencies_of_the_tokens_and_the_identity(encoder: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(encoder)
    counts = torch.arange(len(tiny_mlm.VOCABULARY)).float()
    start_head(model, counts)
    head = model.cls.predictions
    assert torch.equal(head.transform.dense.weight, torch.eye(32))
    assert head.bias is head.decoder.bias
    torch.testing.assert_close(head.bias.softmax(0), (counts + 0.1) / (counts + 0.1).sum())
    assert model.cls.predictions.decoder.weight is model.get_input_embeddings().weight


def test_a_corpus_that_is_too_small_is_refused(tmp_path: Path, run: Run, encoder: Path) -> None:
    with pytest.raises(InputError, match="has 19 sentences, a masked-LM head needs 20"):
        run(encoder, write_corpus(tmp_path / "corpus", 19))
    assert not (tmp_path / "out").exists()


def test_an_encoder_with_missing_weights_is_refused(tmp_path: Path, run: Run, encoder: Path) -> None:
    weights = load_file(encoder / "model.safetensors")
    weights.pop("encoder.layer.1.output.dense.weight")
    save_file(weights, encoder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 weights are missing, such as bert.encoder.layer.1.output.dense.weight"):
        run(encoder, write_corpus(tmp_path / "corpus", 40))
    assert not (tmp_path / "out").exists()
