import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError, Preempted
from stillhouse.training.autocast import choose_precision
from stillhouse.training.batches import collator, model_inputs
from stillhouse.training.checkpoints import last_checkpoint
from stillhouse.training.loop import fit
from stillhouse.training.outcomes import classify
from tests import tiny


def rows(count: int = 64) -> list[dict]:
    texts, labels = tiny.sentences(count)
    ids = tiny.tokenizer()(texts)["input_ids"]
    return [{"input_ids": row, "label": label} for row, label in zip(ids, labels, strict=True)]


def train(model, folder: Path, step=classify, **options):
    numbers = {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "seed": 5, "precision": "fp32"} | options
    return fit(model, step, rows(), collator(0), checkpoints=folder, **numbers)


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_it_learns(tmp_path):
    model = tiny.bert()
    result = train(model, tmp_path, epochs=8)
    logits = torch.cat([model(**model_inputs(collator(0)([row]))).logits for row in rows()])
    accuracy = (logits.argmax(-1) == torch.tensor([row["label"] for row in rows()])).float().mean()
    assert accuracy > 0.9
    assert result.steps == 64 and result.resumed_from == 0


def test_two_runs_with_one_seed_give_the_same_weights_and_another_seed_others(tmp_path):
    models = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        models.append(tiny.bert())
        train(models[-1], tmp_path / name, seed=seed)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


class StopAt(TrainerCallback):
    """Ends a run by an exception, as a crash would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [5, 11, 16, 21])  # within an epoch, after a checkpoint, at an epoch's end, in the last
def test_a_run_that_was_interrupted_ends_with_the_weights_of_one_that_was_not(tmp_path, step):
    whole = tiny.bert()
    train(whole, tmp_path / "whole", checkpoint_steps=4)
    with pytest.raises(KeyboardInterrupt):
        train(tiny.bert(), tmp_path / "cut", checkpoint_steps=4, callbacks=[StopAt(step)])
    resumed = tiny.bert(seed=9)  # other weights: the checkpoint's must win
    result = train(resumed, tmp_path / "cut", checkpoint_steps=4)
    assert result.resumed_from == (step - 1) // 4 * 4
    assert same(whole, resumed)


def test_a_checkpoint_that_was_not_written_to_its_end_is_not_resumed_from(tmp_path):
    train(tiny.bert(), tmp_path, checkpoint_steps=8)
    newest = last_checkpoint(tmp_path)
    assert newest is not None and newest.name == "checkpoint-24"
    (newest / "complete").unlink()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-16"


def test_checkpoints_hold_no_pickled_arguments(tmp_path):
    train(tiny.bert(), tmp_path, checkpoint_steps=8)
    assert not list(tmp_path.rglob("training_args*"))


def test_a_loss_that_is_not_finite_stops_the_run_with_its_step(tmp_path):
    calls = []

    def diverges(model, batch):
        calls.append(1)
        loss = classify(model, batch)
        return loss * torch.nan if len(calls) == 7 else loss

    with pytest.raises(InputError, match=r"the loss is not finite at step 7 of 24 \(learning_rate = 0.003\)"):
        train(tiny.bert(), tmp_path, step=diverges)


def test_named_terms_are_summed_and_logged(tmp_path):
    logged = []

    def terms(model, batch):
        loss = classify(model, batch)
        return {"one": 0.25 * loss, "two": 0.75 * loss}

    with_terms, plain = tiny.bert(), tiny.bert()
    train(with_terms, tmp_path / "a", step=terms, log=lambda step, metrics: logged.append((step, metrics)))
    train(plain, tmp_path / "b")
    step, metrics = logged[-1]
    assert step == 24
    assert metrics["loss"] == pytest.approx(metrics["one"] + metrics["two"], rel=1e-4)
    for a, b in zip(with_terms.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_accumulated_batches_give_the_gradient_of_one_large_batch(tmp_path):
    one, other = tiny.bert(), tiny.bert()
    for model in (one, other):
        model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    train(one, tmp_path / "a", batch_size=16, max_steps=1, learning_rate=1e-3)
    train(other, tmp_path / "b", batch_size=8, accumulate=2, max_steps=1, learning_rate=1e-3)
    assert all(torch.allclose(a, b, atol=2e-5) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_no_rows_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no training rows"):
        fit(
            tiny.bert(),
            classify,
            [],
            collator(0),
            epochs=1,
            batch_size=1,
            learning_rate=1,
            seed=0,
            checkpoints=tmp_path,
        )


def test_bf16_training_stays_close_to_fp32(tmp_path):
    exact, rounded = tiny.bert(), tiny.bert()
    train(exact, tmp_path / "a", max_steps=3)
    train(rounded, tmp_path / "b", max_steps=3, precision="bf16")
    assert all(p.dtype == torch.float32 for p in rounded.parameters())
    assert all(torch.allclose(a, b, atol=2e-2) for a, b in zip(exact.parameters(), rounded.parameters(), strict=True))


def test_the_whole_step_computes_in_the_chosen_precision_a_frozen_teacher_too(tmp_path):
    teacher = FrozenTeacher(tiny.bert(seed=1), 2, [0])
    linear = teacher.model.bert.encoder.layer[0].output.dense
    seen = {}

    def step(model, batch):
        states = teacher(model_inputs(batch))
        seen.update(scores=states.scores[0].dtype, logits=states.logits.dtype, weight=linear.weight.dtype)
        return classify(model, batch)

    train(tiny.bert(), tmp_path / "a", step, max_steps=1, precision="bf16")
    assert seen == {"scores": torch.bfloat16, "logits": torch.bfloat16, "weight": torch.bfloat16}


def test_sigterm_ends_training_with_a_checkpoint_of_its_step_and_the_rest_gives_the_undisturbed_weights(tmp_path):
    class Terminate(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 14:
                os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    whole, cut = tiny.bert(), tiny.bert()
    train(whole, tmp_path / "whole")
    with pytest.raises(Preempted, match="stopped with a checkpoint at step 14"):
        train(tiny.bert(), tmp_path / "cut", checkpoint_steps=100, callbacks=[Terminate()])
    assert signal.getsignal(signal.SIGTERM) is before
    assert train(cut, tmp_path / "cut").resumed_from == 14
    assert same(whole, cut)


@pytest.mark.slow
def test_kill_9_and_the_same_command_again_give_the_undisturbed_weights(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from safetensors.torch import save_file
        from transformers import TrainerCallback
        from tests.stillhouse.training.test_loop import tiny, train

        class Kill(TrainerCallback):
            def on_step_end(self, args, state, control, **_):
                if state.global_step == int(sys.argv[3]):
                    os.kill(os.getpid(), signal.SIGKILL)

        model = tiny.bert()
        train(model, Path(sys.argv[1]), checkpoint_steps=4, callbacks=[Kill()])
        save_file(model.state_dict(), sys.argv[2])
        """)
    )

    def run(folder: str, out: str, kill_at: int) -> int:
        command = [sys.executable, str(program), str(tmp_path / folder), str(tmp_path / out), str(kill_at)]
        return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(Path.cwd())}, check=False).returncode

    assert run("whole", "whole.safetensors", 0) == 0
    assert run("cut", "cut.safetensors", 14) == -signal.SIGKILL
    assert run("cut", "cut.safetensors", 0) == 0
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "cut.safetensors").read_bytes()


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="precision = 'int4' is not one of auto, fp32, bf16, fp16"):
        choose_precision("int4")
