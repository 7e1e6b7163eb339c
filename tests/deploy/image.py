"""The image of the Dockerfile, built and run by buildah: no daemon, and if need be no registry of images."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.clones import ROOT

NAME = "localhost/stillhouse"
BASE = "localhost/stillhouse-base"
# Of pip's configuration, what says where packages come from.
SOURCES = ("index-url", "extra-index-url", "find-links", "trusted-host", "cert", "client-cert", "proxy")


def buildah(*words: str) -> str:
    """What a command of it prints; one that fails fails with its last lines."""
    done = subprocess.run(["buildah", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"buildah {words[0]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()


def build(scratch: Path, arguments: Sequence[str]) -> None:
    """Build it, with what is there of an earlier build; packages come from where pip finds them here.

    Args:
        scratch: an empty folder.
        arguments: `NAME=VALUE` of the Dockerfile's `ARG`s; `BASE=debootstrap` is a Debian that is made here.
    """
    assert shutil.which("buildah"), "buildah is not installed: apt-get install buildah"
    words = ["bud", "--isolation", "chroot", "--format", "docker", "--layers", "--tag", NAME]
    for argument in arguments:
        if argument == "BASE=debootstrap":
            debian(scratch)
        words += ["--build-arg", f"BASE={BASE}" if argument == "BASE=debootstrap" else argument]
    sources, places = configuration()
    if sources:
        lines = ["[global]", *(f"{key} = {value}" for key, value in sources.items())]
        (scratch / "pip.conf").write_text("\n".join(lines) + "\n")
        words += ["--secret", f"id=pip,src={scratch / 'pip.conf'}"]
    for place in places:
        words += ["--volume", f"{place}:{place}:ro"]
    buildah(*words, ".")


def debian(scratch: Path) -> None:
    """Make a small Debian with Python, unless an earlier test has."""
    if BASE in buildah("images", "--format", "{{.Name}}").splitlines():
        return
    assert shutil.which("debootstrap"), "debootstrap is not installed: apt-get install debootstrap"
    system = scratch / "debian"
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates,python3,python3-venv", "bookworm"]
    subprocess.run([*command, str(system)], check=True, stdout=subprocess.DEVNULL)
    container = buildah("from", "scratch")
    buildah("copy", "--quiet", container, str(system), "/")
    buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    buildah("commit", "--quiet", "--rm", container, BASE)
    shutil.rmtree(system)


def configuration() -> tuple[dict[str, str], list[str]]:
    """Where pip finds packages here, by the names of its options; and the files and folders that these name."""
    listed = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = {}
    # Variables, which pip prefers, come first.
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        option = key.rpartition(".")[2]
        if option in SOURCES:
            found.setdefault(option, shlex.split(value)[0])
    named = [(option, urlsplit(word)) for option, value in found.items() for word in value.split()]
    local = [(option, Path(url.path)) for option, url in named if url.scheme in ("", "file")]
    # The pages of an index name files in folders beside it.
    places = [path.parent if option.endswith("index-url") else path for option, path in local]
    return found, [str(place) for place in places if place.is_absolute() and place.exists()]


def inspect() -> dict[str, Any]:
    """What the image says of itself: user, command, health, history."""
    return json.loads(buildah("inspect", "--type", "image", NAME))["Docker"]


class Container:
    """A container of the image, on this machine's network, to be removed in the end.

    Args:
        volumes: what of this machine lies where in it: `{"/here": "/there"}`; `"/there:ro"` cannot be written.
        variables: of all its commands, besides the image's own.
    """

    def __init__(self, volumes: Mapping[Path, str] | None = None, variables: Mapping[str, str] | None = None) -> None:
        self.name = buildah("from", NAME)
        self._options = ["--isolation", "chroot"]
        for here, there in (volumes or {}).items():
            self._options += ["--volume", f"{here}:{there}"]
        for key, value in (variables or {}).items():
            self._options += ["--env", f"{key}={value}"]

    def run(self, *words: str, folder: str = "/home/stillhouse") -> str:
        """What a command prints; one that fails fails with its last lines."""
        return buildah("run", *self._options, "--workingdir", folder, self.name, "--", *words)

    def start(self, words: Sequence[str], log: Path, folder: str = "/home/stillhouse") -> subprocess.Popen:
        """A command that goes on, in a group of its own."""
        command = ["buildah", "run", *self._options, "--workingdir", folder, self.name, "--", *words]
        with log.open("w") as file:
            return subprocess.Popen(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True, env=os.environ
            )

    def remove(self) -> None:
        """Remove it with all that was written in it."""
        buildah("rm", self.name)
