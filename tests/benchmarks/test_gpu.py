"""The GPU's benchmark, as far as a machine without a GPU goes: every section at the smallest size, on the CPU."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import bert, eight_bits, fp16, graphs, peak
from benchmarks.gpu.__main__ import SECTIONS, fault, main, run, table
from benchmarks.gpu.setting import NotHereError, Setting

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks/gpu"
TINY = Setting("cpu", tiny=True)
# What is said where there is no card can be asked only there.
no_card = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a card")


def test_each_section_is_a_module_that_measures():
    assert len(SECTIONS) == 12
    for name in SECTIONS:
        functions = [each for each in ast.parse((FOLDER / f"{name}.py").read_text()).body if hasattr(each, "args")]
        assert "measure" in {each.name for each in functions}, name


def test_it_imports_nothing_but_torch_and_transformers_and_what_they_bring():
    allowed = {"torch", "transformers", "tokenizers", "safetensors", "numpy", "stillhouse", "benchmarks"}
    allowed |= {"textbrewer", "onnxruntime"}  # where they are installed
    imported = set()
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    assert {"torch", "stillhouse"} <= imported
    assert imported - sys.stdlib_module_names <= allowed


@no_card
def test_without_a_card_it_says_so_in_a_line_and_ends_with_2(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.out == ""
    assert said.err.count("\n") == 1 and "no GPU" in said.err and "--device cpu" in said.err


@no_card
@pytest.mark.parametrize("section", [graphs, fp16])
def test_a_section_that_needs_a_card_says_so(section):
    with pytest.raises(NotHereError, match="needs a card"):
        section.measure(TINY)


def test_the_peak_of_each_type_of_number_is_measured():
    rows = {row["what"]: row["TFLOP/s"] for row in peak.measure(TINY)}
    assert rows.keys() == {"float32", "bfloat16"} and all(rate > 0 for rate in rows.values())


def test_the_step_is_measured_through_the_loop_and_by_itself():
    rows = {row["what"]: row for row in bert.measure(TINY)}
    assert {"step, transformers' SDPA", "step", "fit"} <= rows.keys()
    assert all(row["samples/s"] > 0 for row in rows.values())
    # Only a card has kernels to count, and waits.
    assert rows["step"]["kernels"] is None and rows["fit"]["waits"] is None


def test_forms_that_the_device_lacks_are_named_and_the_others_measured():
    rows = {row["what"]: row for row in eight_bits.measure(TINY)}
    assert rows["int8"]["MiB of weights"] < rows["float32"]["MiB of weights"] / 2
    assert rows["float32"]["logits off"] == 0 < rows["bfloat16"]["logits off"]
    assert "8.9" in rows["float8"]["not here"]


def test_a_fault_is_a_line_of_the_table_and_a_phase_that_disagrees_is_one():
    assert fault({"failed": "RuntimeError: no"}) and fault({"rows": [{"what": "one", "agrees": "no"}]})
    assert not fault({"not here": "no card"}) and not fault({"rows": [{"what": "one", "agrees": "yes"}]})
    assert "failed: RuntimeError: no" in table("one", {"failed": "RuntimeError: no"})
    assert table("one", {"rows": [{"what": "a|b", "x": 1.23456789}, {"y": None}]}).splitlines()[3:] == [
        "| what | x | y |", "|:--|--:|--:|", "| a/b | 1.23457 |  |", "|  |  |  |",
    ]  # fmt: skip


def test_what_is_over_time_is_not_begun():
    assert "--only bert" in run("bert", "cpu", "tiny", 0)["failed"]


@pytest.mark.slow
def test_a_run_writes_its_tables_and_every_phase_agrees_with_itself(tmp_path):
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--size", "tiny", "--out", str(out)]
    done = subprocess.run(
        [*command, "--only", "peak", "recipes"], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    sections = json.loads(out.read_text())["sections"]
    assert [row["agrees"] for row in sections["recipes"]["rows"]] == ["yes"] * 24
    assert "## recipes" in out.with_suffix(".md").read_text() and "no card" in done.stdout


@pytest.mark.slow
def test_a_training_that_is_killed_ends_with_the_same_bytes_on_a_cpu():
    found = run("resume", "cpu", "tiny", 200)
    assert [row["same bytes"] for row in found.get("rows", [])] == ["yes", "yes"], found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reference", "compiled", "processes", "onnx"])
def test_a_section_runs_on_a_cpu(name):
    found = run(name, "cpu", "tiny", 200)
    assert found.get("rows"), found


@pytest.mark.slow
def test_a_section_that_fails_is_one_line():
    failed = run("no_such_section", "cpu", "tiny", 100)["failed"]
    assert "no_such_section" in failed and "\n" not in failed
