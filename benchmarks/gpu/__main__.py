"""What only a GPU shows, in one run of less than nine minutes, with torch and transformers and no network.

    python -m benchmarks.gpu --out gpu.json
    python -m benchmarks.gpu --only bert compiled graphs
    python -m benchmarks.gpu --device cpu --size tiny

peak             products of large matrices: what the card does at most
reference        the work of docs/results/throughput.md, TextBrewer beside it where it is installed
bert             BERT-base → 6 layers at 128 tokens: samples/s, share of the peak, kernels, memory, waits for the card
bert_textbrewer  the same by TextBrewer, where it is installed
compiled         the same step by torch.compile
graphs           the same step as one CUDA graph
fp16             fp16 with its scaler beside fp32
processes        two processes on one card
resume           a training that is killed and goes on, byte by byte
eight_bits       int8 and float8 weights
onnx             ONNX Runtime's CUDA provider, where it is installed
recipes          ten steps of every method's every phase, beside the CPU's losses

Sections run by themselves. One that fails says so in a line, the others go on, and the exit code is 1. Without a card
it ends with 2, unless `--device cpu` asks for a run that proves the program and measures nothing.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

# Seconds that each may take at most. Together they are more than there are; what is left bounds them too.
SECTIONS = {
    "peak": 60, "reference": 120, "bert": 90, "bert_textbrewer": 60, "compiled": 120, "graphs": 60, "fp16": 60,
    "processes": 80, "resume": 90, "eight_bits": 60, "onnx": 90, "recipes": 120,
}  # fmt: skip
SECONDS = 530


def main(given: list[str] | None = None) -> None:
    args = arguments(given)
    if args.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU here: run it where there is one, or with --device cpu --size tiny", file=sys.stderr)
        sys.exit(2)
    print(hardware(args.device), flush=True)
    ends = time.monotonic() + SECONDS
    found: dict[str, dict[str, Any]] = {}
    for name in args.only:
        began = time.monotonic()
        found[name] = run(name, args.device, args.size, min(SECTIONS[name], ends - began))
        found[name]["seconds"] = round(time.monotonic() - began, 1)
        print(table(name, found[name]), flush=True)
    if args.out:
        write(args.out, args, found)
    failed = [name for name, section in found.items() if fault(section)]
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
        sys.exit(1)


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--size", choices=["full", "tiny"], default="full")
    parser.add_argument("--out", type=Path, help="JSON file; the tables go beside it, as Markdown")
    args = parser.parse_args(given)
    if args.out and args.out.suffix == ".md":
        parser.error(f"--out {args.out}: name the JSON file; the Markdown is written beside it")
    if args.out and not args.out.parent.is_dir():
        parser.error(f"--out {args.out}: there is no folder {args.out.parent}")
    return args


def run(name: str, device: str, size: str, limit: float) -> dict[str, Any]:
    """A section's rows; or why there are none, under `not here` or `failed`."""
    if limit <= 0:
        return {"failed": f"the {SECONDS} s of a run are over: run it with --only {name}"}
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "section.json"
        command = [sys.executable, "-m", "benchmarks.gpu.section", name, device, size, str(file)]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                _, errors = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                # Its own processes with it.
                os.killpg(process.pid, 9)
                process.communicate()
                return {"failed": f"not done in {limit:.0f} s"}
        if process.returncode:
            lines = [line for line in errors.splitlines() if line.strip()]
            return {"failed": (lines or [f"ended with {process.returncode}"])[-1].strip()[:300]}
        return json.loads(file.read_text(encoding="utf-8"))


def fault(section: dict[str, Any]) -> bool:
    """Whether it failed, or a row of it does not agree with what it was compared to."""
    return "failed" in section or any(row.get("agrees") == "no" for row in section.get("rows", []))


def table(name: str, section: dict[str, Any]) -> str:
    """A section in Markdown."""
    lines = ["", f"## {name}", ""]
    for word in ("failed", "not here"):
        if word in section:
            return "\n".join([*lines, f"{word}: {section[word]}"])
    columns = list(dict.fromkeys(key for row in section["rows"] for key in row))
    lines.append("| " + " | ".join(columns) + " |")
    lines.append("|:--" + "|--:" * (len(columns) - 1) + "|")
    lines.extend("| " + " | ".join(cell(row.get(key)) for key in columns) + " |" for row in section["rows"])
    return "\n".join(lines)


def cell(value: Any) -> str:
    """A figure with as many digits as say something."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace("|", "/")


def hardware(device: str) -> str:
    """The device, the software and the day."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, no card: nothing is measured"
    return f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda}, {datetime.now(UTC):%d %B %Y}"


def write(out: Path, args: argparse.Namespace, found: dict[str, dict[str, Any]]) -> None:
    """The JSON file, and the tables beside it; whole or not at all."""
    head = hardware(args.device)
    texts = {
        out: json.dumps({"hardware": head, "size": args.size, "sections": found}, indent=2) + "\n",
        out.with_suffix(".md"): "\n".join([head, *(table(*each) for each in found.items())]) + "\n",
    }
    for file, text in texts.items():
        beside = file.with_name(f".{file.name}.tmp")
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)


if __name__ == "__main__":
    main()
