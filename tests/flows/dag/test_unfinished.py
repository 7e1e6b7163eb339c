"""The checkpoints of a stage that one runner did not finish, and what the next one takes up of them."""

import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.dag import unfinished
from flows.dag.process import StageFailed
from flows.dag.unfinished import EVERY, LISTED, Unfinished, pack, seconds_between, unpack, worth_sending
from stillhouse.errors import InputError
from tests.flows.conftest import Toy
from tests.flows.dag.conftest import BUCKET, KEYS, LOGIN
from tests.flows.dag.test_remote import point_to

WORK = "finetune-0123456789abcdef"
Clone = Callable[[str], Unfinished]


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def read(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def runner(toy: Toy, tmp_path: Path) -> Clone:
    """A runner's view of the stage `b`, with a cache of its own; all share a folder as the remote."""
    root = toy({"b": {"cmd": "cp seed b", "deps": ["seed"], "outs": ["b"]}}, seed="x")
    point_to(root, str(tmp_path / "remote"))
    return lambda name: Unfinished(root, "b", tmp_path / name)


def train(runner: Unfinished, listed: dict[str, str], *names: str) -> None:
    """What a stage's process does: it names its workspace, and writes into it."""
    with Path(listed[LISTED]).open("a") as names_of:
        names_of.write(f"{WORK}\n")
    write(runner.folder / WORK, *names)


def sent(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "remote").rglob("*.zip"))


def test_of_each_training_its_newest_whole_checkpoint_is_sent_and_all_that_is_no_checkpoint(tmp_path: Path) -> None:
    write(tmp_path / WORK, "curve.json", "0.5/model.safetensors", ".draft.7.tmp", "checkpoints/.x/part")
    for training, steps in (("checkpoints", (9, 10)), ("0.7-unfinished/checkpoints", (200,))):
        for step in steps:
            write(tmp_path / WORK, f"{training}/checkpoint-{step}/state", f"{training}/checkpoint-{step}/complete")
    write(tmp_path / WORK, "checkpoints/checkpoint-11/state")  # killed while it was written
    newest = ["checkpoints/checkpoint-10", "0.7-unfinished/checkpoints/checkpoint-200"]
    wanted = {f"{folder}/{name}" for folder in newest for name in ("state", "complete")}
    wanted |= {"curve.json", "0.5/model.safetensors"}
    assert {path.relative_to(tmp_path / WORK).as_posix() for path in worth_sending(tmp_path / WORK)} == wanted


def test_what_was_packed_takes_the_place_of_what_is_older_and_of_nothing_else(tmp_path: Path) -> None:
    there, here, archive = tmp_path / "there", tmp_path / "here", tmp_path / "archive"
    write(there / WORK, "checkpoints/checkpoint-5/complete", "curve.json")
    assert pack([there / WORK], archive)
    write(here / WORK, "checkpoints/checkpoint-2/complete")
    assert unpack(archive, time.time() - 60, here) == [] and read(here / WORK) == {"checkpoints/checkpoint-2/complete"}
    assert unpack(archive, time.time() + 60, here) == [WORK]
    assert read(here / WORK) == read(there / WORK)
    assert [path.name for path in here.iterdir()] == [WORK]
    assert not pack([tmp_path / "no-such"], archive), "nothing to send"


def test_an_archive_reaches_no_place_but_its_workspaces(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in (f"{WORK}/../../out", "../out", "/out", "plain/out", f"..-{'0' * 16}/out", f"{WORK}/state"):
            packed.writestr(name, "x")
    assert unpack(archive, time.time(), tmp_path / "deep" / "here") == [WORK]
    assert read(tmp_path) == {"archive", f"deep/here/{WORK}/state"}


@pytest.mark.slow
def test_checkpoints_travel_by_s3_too(toy: Toy, tmp_path: Path, s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    import boto3

    def keys() -> list[str]:
        client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1", **KEYS)
        return [each["Key"] for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    root = toy({"b": {"cmd": "cp seed b", "deps": ["seed"], "outs": ["b"]}}, seed="x")
    point_to(root, f"s3://{BUCKET}/dvc", endpointurl=s3, **LOGIN)
    first, second = (Unfinished(root, "b", tmp_path / name) for name in ("first", "second"))
    for step in (7, 8):
        with pytest.raises(KeyboardInterrupt), first.sent() as listed:
            train(first, listed, f"checkpoints/checkpoint-{step}/complete")
            raise KeyboardInterrupt
    (key,) = keys()
    assert key.startswith(f"dvc/unfinished/{first.key}/")
    second.bring()
    assert read(second.folder / WORK) == {"checkpoints/checkpoint-8/complete"}
    second.clear()
    assert keys() == [] and LOGIN["secret_access_key"] not in capsys.readouterr().out


def test_a_stopped_runners_checkpoint_is_taken_up_by_the_next_and_gone_after_the_result(
    runner: Clone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = runner("first"), runner("second")
    with pytest.raises(KeyboardInterrupt), first.sent() as listed:
        train(first, listed, "checkpoints/checkpoint-7/complete")
        raise KeyboardInterrupt
    (archive,) = sent(tmp_path)
    assert archive.parent.name == first.key == second.key
    second.bring()
    assert read(second.folder / WORK) == {"checkpoints/checkpoint-7/complete"}
    said = capsys.readouterr().out
    assert "[b] its checkpoint was sent, 0.0 MB" in said and "[b] goes on from the checkpoint that another" in said
    second.bring()
    assert "goes on" not in capsys.readouterr().out, "it is not older than what this one has"
    with second.sent() as listed:
        train(second, listed, "checkpoints/checkpoint-9/complete")
    assert sent(tmp_path) == [archive], "what ends well has none left to send"
    second.clear()
    assert sent(tmp_path) == []
    assert [path.name for path in second.folder.iterdir()] == [WORK], "no list and no scratch"


def test_one_archive_a_stage_is_kept_and_what_nobody_finished_in_two_weeks_goes(
    runner: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EVERY, "0.2")
    old = tmp_path / "remote" / "unfinished" / "of-another" / f"{int((time.time() - 15 * 86400) * 1000)}-{'0' * 64}.zip"
    theirs = old.with_name("theirs.txt")
    write(old.parent, old.name, theirs.name)
    first = runner("first")
    seen = set()
    with first.sent() as listed:
        for step in (1, 2):
            train(first, listed, f"checkpoints/checkpoint-{step}/complete")
            deadline = time.monotonic() + 60
            while not (new := {*sent(tmp_path)} - seen - {old}):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            seen |= new
        deadline = time.monotonic() + 60
        while len(sent(tmp_path)) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert len(seen) >= 2 and theirs.exists() and not old.exists()


def test_a_checkpoint_that_is_replaced_under_a_look_is_sent_by_the_next(
    runner: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def look(folder: Path) -> list[Path]:
        looks.append(folder)
        if len(looks) == 1:
            raise FileNotFoundError(folder)
        return worth_sending(folder)

    monkeypatch.setenv(EVERY, "0.1")
    monkeypatch.setattr(unfinished, "worth_sending", look)
    first = runner("first")
    with first.sent() as listed:
        train(first, listed, "checkpoints/checkpoint-1/complete")
        deadline = time.monotonic() + 60
        while not sent(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_an_archive_that_was_cut_off_is_passed_over_for_the_one_before(runner: Clone, tmp_path: Path) -> None:
    first, second = runner("first"), runner("second")
    with pytest.raises(KeyboardInterrupt), first.sent() as listed:
        train(first, listed, "checkpoints/checkpoint-7/complete")
        raise KeyboardInterrupt
    (archive,) = sent(tmp_path)
    milliseconds, _, digest = archive.name.partition("-")
    later = archive.with_name(f"{int(milliseconds) + 1}-{digest.replace(digest[0], 'f', 1)}")
    later.write_bytes(archive.read_bytes()[:-5])
    second.bring()
    assert read(second.folder / WORK) == {"checkpoints/checkpoint-7/complete"}


def test_a_stage_that_failed_for_good_sends_nothing_and_a_remote_that_is_away_is_a_line(
    runner: Clone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = runner("first")
    for may_pass in (False, True):
        (tmp_path / "remote").exists() or (tmp_path / "remote").write_text("no folder")
        with pytest.raises(StageFailed), first.sent() as listed:
            train(first, listed, "checkpoints/checkpoint-7/complete")
            raise StageFailed("b", 2, "x", Path("log"), may_pass)
        said = capsys.readouterr().out
        assert ("its checkpoints do not travel: the remote cannot be used: " in said) == may_pass, said
        assert said.count("\n") == may_pass


def test_the_time_between_two_sends_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EVERY, raising=False)
    assert seconds_between() == unfinished.USUALLY
    for given in ("soon", "-1", "nan", "1e300"):
        monkeypatch.setitem(os.environ, EVERY, given)
        with pytest.raises(InputError, match=f"{EVERY} = '{given}': give seconds, or 0"):
            seconds_between()
