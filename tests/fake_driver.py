"""A driver with the fake engine, to be started and killed by tests: `fake_driver.py RUN [--attempts=N]`."""

import argparse
import signal
import sys
from pathlib import Path

# A command that ran in this process before may have asked Python to leave the folder of a script out.
sys.path.insert(0, str(Path(__file__).parent))

from fake_engine import SlowEngine, work_of

from cascade_driver.campaign.executors import Processes
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.cli import interrupt


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--attempts", type=int, default=2)
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    run = RunDirectory(chosen.run)
    run.sweep()
    try:
        progress = Processes().work(work_of(run, engine=SlowEngine, attempts=chosen.attempts), lambda _: None)
    except KeyboardInterrupt:
        return 130
    print(progress.done_here)
    return 0


if __name__ == "__main__":
    sys.exit(main())
