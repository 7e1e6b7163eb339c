import re

import pytest
import torch

from stillhouse.encoders.labels import align_labels, label_order, model_labels
from stillhouse.errors import InputError
from tests import tiny


def test_the_same_names_in_another_order_reorder_the_rows():
    model = tiny.bert(labels=("c", "a", "b"))
    ids = torch.tensor([[2, 7, 8, 3]])
    before = model(input_ids=ids).logits
    align_labels(model, ("a", "b", "c"))
    assert torch.allclose(model(input_ids=ids).logits, before[:, [1, 2, 0]], atol=1e-6)
    assert model_labels(model) == ("a", "b", "c")


def test_placeholder_names_take_the_datas_order():
    model = tiny.bert(labels=("LABEL_0", "LABEL_1"))
    before = model.classifier.weight.clone()
    align_labels(model, ("no", "yes"))
    assert torch.equal(model.classifier.weight, before)
    assert model.config.label2id == {"no": 0, "yes": 1}


def test_order_is_where_each_of_the_datas_labels_stands_in_the_model():
    assert label_order(("a", "b", "c"), ("c", "a", "b")) == [1, 2, 0]


@pytest.mark.parametrize("labels", [("bad", "fair"), ("bad",), ("bad", "good", "fine")])
def test_other_names_are_refused(labels):
    with pytest.raises(
        InputError, match=re.escape(f"labels differ: the data has {list(labels)}, the model has ['bad', 'good']")
    ):
        align_labels(tiny.bert(), labels)


def test_another_number_of_placeholders_is_refused():
    with pytest.raises(InputError, match="the data has 3, the model has 2"):
        align_labels(tiny.bert(labels=("LABEL_0", "LABEL_1")), ("a", "b", "c"))
