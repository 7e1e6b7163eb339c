import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from stillhouse.encoders.checkpoint import architecture, load_model, load_tokenizer, same_vocabulary, save_model
from stillhouse.errors import InputError
from tests import tiny


def test_a_saved_model_comes_back_the_same(tmp_path):
    model = tiny.bert()
    save_model(model, tiny.tokenizer(), tmp_path)
    back = load_model(tmp_path, AutoModelForSequenceClassification)
    ids = torch.tensor([[2, 7, 8, 3]])
    assert all(torch.equal(a, b) for a, b in zip(back.parameters(), model.parameters(), strict=True))
    # Not to the bit: where a tensor lies in memory decides the order in which products are summed.
    assert torch.allclose(back(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-6)
    assert same_vocabulary(load_tokenizer(tmp_path), tiny.tokenizer())


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_a_pickle_is_refused_and_never_opened(tmp_path):
    model = tmp_path / "model"
    save_model(tiny.bert(), tiny.tokenizer(), model)
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(InputError, match=r"pytorch_model\.bin is a pickle, which can run code"):
        load_model(model, AutoModelForSequenceClassification)
    assert not (tmp_path / "ran").exists()


def test_code_beside_a_checkpoint_does_not_run(tmp_path):
    model = tmp_path / "model"
    save_model(tiny.bert(), tiny.tokenizer(), model)
    config = json.loads((model / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.C", "AutoModelForSequenceClassification": "mine.M"},
    }
    (model / "config.json").write_text(json.dumps(config))
    (model / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(InputError, match=r"brings code of its own .* which is never run"):
        load_model(model, AutoModelForSequenceClassification)
    assert not (tmp_path / "ran").exists()


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: truncate(d / "model.safetensors"), "damaged weights"),
        (lambda d: (d / "model.safetensors").write_bytes(b"not weights at all"), "damaged weights"),
        (lambda d: (d / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda d: (d / "config.json").unlink(), "config.json is missing"),
        (lambda d: (d / "config.json").write_text("{"), "cannot be loaded|damaged"),
    ],
)
def test_a_damaged_checkpoint_is_named_in_one_line(tmp_path, damage, message):
    save_model(tiny.bert(), tiny.tokenizer(), tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        load_model(tmp_path, AutoModelForSequenceClassification)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", lambda _: None),
        ("config.json", lambda config: config | {"hidden_size": 0}),
        ("config.json", lambda config: config | {"hidden_size": -1}),
        ("config.json", lambda config: config | {"vocab_size": 10**30}),
        ("config.json", lambda config: config | {"id2label": True}),
        ("config.json", lambda config: config | {"add_cross_attention": None}),
        ("model.safetensors.index.json", lambda _: []),
        ("model.safetensors.index.json", lambda _: {"weight_map": {"a": []}}),
    ],
)
def test_json_that_says_something_else_than_it_should_is_one_line(tmp_path, file, change):
    save_model(tiny.bert(), tiny.tokenizer(), tmp_path)
    before = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / file).write_text(json.dumps(change(before)))
    with pytest.raises(InputError, match=re.escape(str(tmp_path))) as error:
        load_model(tmp_path, AutoModelForSequenceClassification)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("names", [None, True, "BertModel", {"a": 1}, [], [1]])
def test_an_architecture_that_is_no_list_of_names_is_refused(tmp_path, names):
    save_model(tiny.bert(), tiny.tokenizer(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": names}))
    with pytest.raises(InputError, match="names no architecture: save it with save_pretrained"):
        architecture(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=re.escape(f"'{tmp_path / 'none'}': no such checkpoint folder")):
        load_model(tmp_path / "none", AutoModelForSequenceClassification)


def test_a_damaged_tokenizer_is_named(tmp_path):
    save_model(tiny.bert(), tiny.tokenizer(), tmp_path)
    truncate(tmp_path / "tokenizer.json")
    with pytest.raises(InputError, match="no usable tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.usefixtures("hub_away")
def test_a_hub_that_is_away_may_pass_and_a_switch_that_forbids_it_does_not(monkeypatch):
    loads = (lambda: load_tokenizer("no/such"), lambda: load_model("no/such", AutoModelForSequenceClassification))
    for load in loads:
        with pytest.raises(
            ConnectionError, match="'no/such': the hub cannot be reached, and it was not fetched before"
        ):
            load()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for load in loads:
        with pytest.raises(InputError, match="'no/such'"):
            load()


@pytest.mark.parametrize(
    ("renamed", "says"),
    [
        (
            lambda name: f"module.{name}",
            "37 weights are missing, such as bert.embeddings.LayerNorm.bias, and it has 41",
        ),
        (lambda name: None if "layer.1." in name else name, "16 weights are missing, such as bert.encoder.layer.1."),
        (
            lambda name: None if "word_embeddings" in name else name,
            "1 weights are missing, such as bert.embeddings.w",
        ),
    ],
    ids=["another prefix", "a layer", "word vectors"],
)
def test_weights_that_are_missing_are_never_filled_in_at_random(tmp_path, renamed, says):
    with_weights(tmp_path, renamed)
    with pytest.raises(InputError, match=says) as error:
        load_model(tmp_path, AutoModelForSequenceClassification)
    assert "\n" not in str(error.value)


def test_a_head_or_a_pooler_may_be_new_where_it_is_trained_and_nowhere_else(tmp_path):
    with_weights(tmp_path, lambda name: None if name.startswith(("classifier.", "bert.pooler.")) else name)
    load_model(tmp_path, AutoModelForSequenceClassification)
    with pytest.raises(InputError, match=r"4 weights are missing, such as bert\.pooler"):
        load_model(tmp_path, AutoModelForSequenceClassification, whole=True)


def test_weights_that_are_not_used_are_named(tmp_path, capsys):
    with_weights(tmp_path, lambda name: name, {"bert.encoder.layer.7.extra": torch.ones(1), "cls.bias": torch.ones(1)})
    load_model(tmp_path, AutoModelForSequenceClassification)
    assert "1 weights are not used, such as bert.encoder.layer.7.extra" in capsys.readouterr().out


def with_weights(folder, renamed, more=None):
    """A checkpoint whose weights have other names; None leaves one out."""
    tiny.save(tiny.bert(), folder)
    file = folder / "model.safetensors"
    weights = {renamed(name): tensor for name, tensor in load_file(file).items() if renamed(name)}
    save_file(weights | (more or {}), file, metadata={"format": "pt"})
