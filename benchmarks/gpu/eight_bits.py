"""A classifier in eight bits, or computed in two bytes: how far its logits are off, and how long it takes."""

import torch

from benchmarks.gpu.bert import Work
from benchmarks.gpu.setting import Row, Setting, seconds_a_call
from stillhouse.errors import InputError
from stillhouse.surgery.quantizing import quantize
from stillhouse.training.batches import collate, model_inputs

FORMS = ("float32", "bfloat16", "float16", "int8", "float8")
CLOSE = 0.1  # of the largest logit's magnitude, for any form


@torch.inference_mode()
def measure(setting: Setting) -> list[Row]:
    """A row a form; one that the device does not have says so."""
    work = Work.of(setting)
    whole = work.models()[0].to(setting.device)
    batch = {
        name: tensor.to(setting.device) for name, tensor in model_inputs(collate(work.rows(work.batch), 0)).items()
    }
    exact = whole(**batch).logits
    rows: list[Row] = []
    for form in FORMS:
        try:
            model = as_form(whole, form)
        except InputError as error:
            rows.append({"what": form, "not here": str(error)})
            continue
        logits = model(**batch).logits.float()
        off = float((logits - exact).abs().max() / exact.abs().max())
        calls = 2 if setting.tiny else 20
        seconds = seconds_a_call(setting, lambda model=model: model(**batch), warmup=1, calls=calls, rounds=1)
        held = sum(each.numel() * each.element_size() for each in model.state_dict().values())
        rows.append(
            {
                "what": form,
                "MiB of weights": round(held / 2**20, 3),
                "logits off": round(off, 5),
                "ms a batch": round(1000 * seconds, 2),
            }
        )
        if not off < CLOSE:
            raise RuntimeError(f"{form}: logits are off by {off:.3g} of the largest")
    return rows


def as_form(model, form: str):
    """A copy of the model in another form.

    Raises:
        InputError: the device has none.
    """
    if form in ("int8", "float8"):
        return quantize(model, weights=form)
    copy = type(model)(model.config)
    copy.load_state_dict(model.state_dict())
    return copy.to(model.device, getattr(torch, form)).eval()
