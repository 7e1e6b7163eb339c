"""The console script: its commands are the programs that `python -m` runs, and a shell completes them."""

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flows import cli, completion

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "transformers", "prefect", "mlflow", "dvc", "datasets", "numpy.random", "pydantic", "ruamel", "shtab"}
CALL = "import sys; {before}; sys.argv = ['/bin/stillhouse', *{words}]; from flows import cli; cli.main()"


def call(*words: str, before: str = "pass", folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Call the script as the one that pip installs does."""
    command = [sys.executable, "-c", CALL.format(before=before, words=list(words))]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_every_program_of_flows_is_a_command() -> None:
    def runs(file: Path) -> bool:
        return "program.run(main)" in file.read_text(encoding="utf-8")

    files = [*(ROOT / "flows").glob("*.py"), *(ROOT / "flows").glob("*/__main__.py")]
    programs = {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files if runs(file)}
    assert len(programs) >= 11
    assert set(cli.COMMANDS.values()) == programs | {"tasks.profile"}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_usage_names_the_program_as_it_was_called(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(cli.COMMANDS[name])
    assert cli.about(cli.COMMANDS[name]) == module.main.__doc__.splitlines()[0].rstrip(".")
    called = cli.COMMANDS[name].removesuffix(".__main__")
    assert module.parser().format_usage().startswith(f"usage: python -m {called} [-h]")
    monkeypatch.setattr("sys.argv", [f"stillhouse {name}"])
    assert module.parser().format_usage().startswith(f"usage: stillhouse {name} [-h]")


def test_help_lists_the_commands_and_imports_nothing_heavy() -> None:
    done = call("--help", before="import atexit; atexit.register(lambda: print('loaded', *sys.modules))")
    shown, _, loaded = done.stdout.partition("loaded ")
    assert done.returncode == 0
    assert [name for name in cli.COMMANDS if f"\n    {name}" not in shown] == []
    assert "flows.cli" in loaded.split() and not HEAVY & set(loaded.split())


def test_a_command_ends_as_its_program_does(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    done = call("profile", "nope", folder=tmp_path)
    program = subprocess.run(
        [sys.executable, "-m", "tasks.profile", "nope"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "error: profile 'nope': no such profile in profiles: there are none\n"
    assert (done.returncode, done.stdout, done.stderr) == (program.returncode, program.stdout, program.stderr)


def test_a_library_that_is_not_installed_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    done = call("profile", "sst2", before="sys.modules['ruamel'] = None", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: stillhouse profile needs ruamel, which is not installed: ")
    assert done.stderr.count("\n") == 1 and "pip install -c constraints.txt -e '.[pipeline]'" in done.stderr


def test_in_another_clone_that_clones_code_runs(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").touch()
    (tmp_path / "flows" / "cli.py").write_text("import sys; print('its own', sys.argv[1:]); sys.exit(3)")
    done = call("compress", "hinton", folder=tmp_path)
    assert (done.returncode, done.stdout) == (3, "its own ['compress', 'hinton']\n")


def test_the_distribution_installs_the_script() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["stillhouse"].partition(":")
    assert getattr(importlib.import_module(module), function) is cli.main


def test_bash_completes_commands_options_recipes_and_profiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stillhouse completion", "bash"])
    completion.main()
    (tmp_path / "completion").write_text(capsys.readouterr().out)
    lines = ["source completion", "cd $ROOT"]
    asked = ("s", "compress ti", "promote structured", "promote --a", "profile few", "servers st", "search --l")
    for words in asked:
        typed = ["stillhouse", *words.split()]
        lines.append(f"COMP_WORDS=({' '.join(typed)}); COMP_CWORD={len(typed) - 1}; COMPREPLY=()")
        lines.append(f"_shtab_stillhouse stillhouse {typed[-1]} {typed[-2]}; echo ${{COMPREPLY[@]}}")
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=os.environ | {"ROOT": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [sorted(line.split()) for line in done.stdout.splitlines()] == [
        *(["search", "serve", "servers"], ["tinybert"], ["structured", "structured-distil"], ["--approve"]),
        *(["few-questions"], ["status"], ["--latency"]),
    ]
    recipes = [file.stem.replace("_", "-") for file in sorted((ROOT / "tasks" / "recipes").glob("[!_]*.py"))]
    listed = subprocess.run(completion.FOUND["recipe"], shell=True, cwd=ROOT, capture_output=True, text=True).stdout
    assert sorted(listed.split()) == sorted(recipes) and len(recipes) > 20
