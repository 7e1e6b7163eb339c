"""What a command used is its own, and that of those it waited for, and of nobody else."""

import sys
from pathlib import Path

import pytest

from benchmarks.usage import used_by


def test_the_peak_of_a_command_is_its_own_and_not_that_of_who_started_it() -> None:
    ours = bytearray(300 * 2**20)
    small = used_by([sys.executable, "-c", "pass"])
    large = used_by([sys.executable, "-c", "bytearray(b'x' * (200 * 2**20))"])
    assert len(ours) > 300 * 10**6 and small.peak < 100 * 2**20 < 200 * 2**20 < large.peak


def test_pages_of_a_mapped_file_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(100 * 2**20))
    read = f"f = open({str(file)!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); sum(m[::4096])"
    used = used_by([sys.executable, "-c", f"import mmap, time; {read}; time.sleep(0.2)"])
    assert used.own < 50 * 2**20 and used.peak > 100 * 2**20


def test_a_command_that_fails_is_an_error_with_what_it_said() -> None:
    with pytest.raises(RuntimeError, match="exit 1: no such thing"):
        used_by([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_what_a_process_used_is_that_of_those_it_waited_for_too() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}], check=True)"
    assert used_by([sys.executable, "-c", nested]).cpu >= 0.3
    with pytest.raises(RuntimeError, match="exit 3"):
        used_by([sys.executable, "-c", "raise SystemExit(3)"])
