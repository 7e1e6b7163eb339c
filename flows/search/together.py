"""Work on several things side by side, each in a place of its own, such as a copy of the project."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from flows.dag.process import stop_all

Item = TypeVar("Item")
Made = TypeVar("Made")


def together(
    work: Callable[[Item, Path], Made],
    items: Sequence[Item],
    places: Sequence[Path],
    ended: Callable[[Item, Made], None],
) -> None:
    """Work on all items, on one at a time in each place; what `work` raises is raised once those under way have ended.

    Args:
        work: of an item, in one of the places.
        ended: told what came of each as soon as it ends, by this thread alone.
    """
    if len(places) == 1:
        for item in items:
            ended(item, work(item, places[0]))
        return
    free: SimpleQueue[Path] = SimpleQueue()
    for place in places:
        free.put(place)

    def one(item: Item) -> Made:
        place = free.get()
        try:
            return work(item, place)
        finally:
            free.put(place)

    with ThreadPoolExecutor(len(places), thread_name_prefix="trial") as threads:
        # Prefect knows by the context which flow submits a task.
        under_way: dict[Future[Made], Item] = {threads.submit(copy_context().run, one, item): item for item in items}
        fault: BaseException | None = None
        try:
            for future in as_completed(under_way):
                if future.cancelled():
                    continue
                if failed := future.exception():
                    fault = fault or failed
                    for each in under_way:
                        each.cancel()
                    continue
                ended(under_way[future], future.result())
        except BaseException:
            # Ctrl-C, or a cancelled run, of which this thread alone hears.
            for each in under_way:
                each.cancel()
            stop_all()
            raise
    if fault:
        raise fault
