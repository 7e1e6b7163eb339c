"""Prefect calls a stage's run crashed whose runner is gone: it hears nothing of it any more.

A worker reports the death of the process that it has started. Who reports that of a machine is an automation on the
Prefect server: runs of the flow `stage` send a heartbeat every 30 s (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY` in
prefect.yaml, Prefect's least), and where none comes for 90, it ends the run.
"""

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

NAME = "stillhouse: a stage whose runner is gone"
SILENCE = timedelta(seconds=90)
HEARTBEAT = "prefect.flow-run.heartbeat"
FLOW: dict[str, str | list[str]] = {"prefect.resource.role": "flow", "prefect.resource.name": "stage"}
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "UpToDate", "MayPass")


def mark_the_gone(client: SyncPrefectClient) -> None:
    """Give the server that automation, if it has none of its name: what its owner changed there stays."""
    if client.read_automations_by_name(NAME):
        return
    client.create_automation(
        AutomationCore(
            name=NAME,
            description="Of flows that run stages in a work pool: python -m flows.compress RECIPE --pool NAME",
            trigger=EventTrigger(
                after={"prefect.flow-run.Running", HEARTBEAT},
                expect={HEARTBEAT, *(f"prefect.flow-run.{end}" for end in ENDS)},
                match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
                match_related=ResourceSpecification(FLOW),
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=SILENCE,
            ),
            actions=[
                ChangeFlowRunState(
                    name="Crashed",
                    state=StateType.CRASHED,
                    message=f"its runner has said nothing for {SILENCE.seconds} s",
                    force=False,
                )
            ],
        )
    )
