"""Lines of progress: when one is due, and what it says."""

import pytest

from stillhouse.training.progress import Meter


def test_a_line_tells_the_time_left_and_leaves_out_of_the_speed_what_an_earlier_run_did(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = iter([0.0, 2.0, 10.0, 11.0])
    meter = Meter(400, now=lambda: next(clock))
    meter.skip(100)
    for done in (200, 300, 400):
        if meter.reached(done):
            meter.print(f"done {done}/400  {meter.rate:.1f} rows/s")
    assert capsys.readouterr().out.splitlines() == [
        "done 300/400  20.0 rows/s  0:05 left",
        "done 400/400  27.3 rows/s  0:00 left",
    ]
