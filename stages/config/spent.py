"""What a stage takes of the machine: seconds, memory and energy, as the system counts them."""

import os
import resource
import sys
import time
from pathlib import Path
from typing import NamedTuple

from stages.config.energy import Energy

BYTES_PER_MB = 1_000_000


class Spent(NamedTuple):
    """What one run of a stage took.

    Attributes:
        startup: seconds from the start of the process to the begin of the work: the interpreter,
            and what modules import at their head.
        work: seconds of the work, late imports among them.
        cpu: seconds of all cores, start-up among them, of the process and its workers.
        peak: most memory that one process held at a time, the process or a worker, MB.
        in_worker: whether that was a worker.
        energy: joules of the work, of the whole machine; None where it does not tell.
        energy_of: whose energy that is, or why there is none.
    """

    startup: float
    work: float
    cpu: float
    peak: float
    in_worker: bool
    energy: float | None
    energy_of: str


class OfChildren(NamedTuple):
    """What ended child processes took: CPU seconds, and bytes that the largest held."""

    cpu: float
    peak: int


NOTHING = OfChildren(0.0, 0)


def spent_by_children() -> OfChildren:
    """Up to now."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return OfChildren(used.ru_utime + used.ru_stime, _in_bytes(used.ru_maxrss))


def total_spent(startup: float, work: float, energy: Energy, before: OfChildren = NOTHING) -> Spent:
    """Add CPU and memory up to now; of workers, those that have ended count.

    Args:
        startup: s until the work began.
        work: s of the work.
        energy: of the work.
        before: of children before the work, which are no workers of it.
    """
    own, children = _own_peak(), spent_by_children()
    workers = children.peak if children.peak > before.peak else 0
    return Spent(
        startup=round(startup, 2),
        work=round(work, 2),
        cpu=round(sum(os.times()[:4]) - before.cpu, 2),
        peak=round(max(own, workers) / BYTES_PER_MB, 1),
        in_worker=workers > own,
        energy=energy.joules,
        energy_of=energy.of,
    )


def process_age() -> float:
    """Seconds since this process was started, to 0.01 on Linux."""
    if sys.platform == "linux":
        # Both count from boot. psutil adds whole seconds of boot time: up to 1 s off.
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    import psutil  # 20 ms

    return time.time() - psutil.Process().create_time()


def _own_peak() -> int:
    """Bytes that this process held at most.

    Linux hands ru_maxrss on to a program that takes another's place: a stage would never lie
    below DVC, which starts it. A worker's, in the same way, never lies below its stage's, and so
    is the peak where it exceeds that one. VmHWM is of the program alone.
    """
    for line in _status():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return _in_bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _status() -> list[str]:
    status = Path("/proc/self/status")
    return status.read_text(encoding="utf-8").splitlines() if status.exists() else []


def _in_bytes(maxrss: int) -> int:
    """Of ru_maxrss: bytes on macOS, KiB on Linux."""
    return maxrss if sys.platform == "darwin" else 1024 * maxrss
