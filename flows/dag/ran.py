"""How a flow brought a stage up to date: on which machine, for how long, and whether its command ran at all."""

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.dag.graph import Stage

SAID = re.compile(r"(.*) \(([0-9.]+) s\)", re.DOTALL)  # by a runner, at the end of its run


@dataclass(frozen=True)
class Ran:
    """A stage that was not up to date, and is now.

    Attributes:
        place: the machine, and the project's folder there.
        seconds: that it took there, DVC's work included; not what it waited for cores, a GPU or another flow.
        cached: its command did not run, for a cache had the result.
    """

    place: str
    seconds: float
    cached: bool = False

    def __str__(self) -> str:
        return f"{self.place} ({self.seconds:.1f} s)"


def place(root: Path) -> str:
    """This machine, and a folder of it."""
    return f"{socket.gethostname()}:{root}"


def of_runner(message: str | None) -> Ran | None:
    """What the last message of a runner's flow run says; None where it says of no stage that it ran."""
    found = SAID.fullmatch(message or "")
    return Ran(found[1], float(found[2])) if found else None


def stages_table(stages: Sequence[Stage], ran: Mapping[str, Ran]) -> str:
    """A Markdown table of a flow's part of the DAG: what each stage needs, what became of it, where, and the time."""
    own = {stage.name for stage in stages}
    lines = ["| stage | needs | | where | took |", "|:--|:--|:--|:--|--:|"]
    for stage in stages:
        needs = ", ".join(need for need in stage.needs if need in own)
        done = ran.get(stage.name)
        if done is None:
            lines.append(f"| {stage.name} | {needs} | was up to date | | |")
        else:
            what = "from a cache" if done.cached else "ran"
            lines.append(f"| {stage.name} | {needs} | {what} | `{done.place}` | {_shown(done.seconds)} |")
    return "\n".join(lines)


def _shown(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"
