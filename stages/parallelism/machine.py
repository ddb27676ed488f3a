"""What this machine, or the share of it that a queue or a container gives, has for stages."""

import os

from dask.system import CPU_COUNT  # of control groups and affinity too
from distributed.system import MEMORY_LIMIT

MB = 1_000_000
MIB = 2**20  # what SLURM counts in
MEMORY_SHARE = 0.9  # for stages; the rest is the system's


def count_cores() -> int:
    """Cores that stages may use."""
    return min(CPU_COUNT, int(os.environ.get("SLURM_CPUS_PER_TASK", CPU_COUNT)))


def memory_mb() -> int:
    """Memory that stages may hold together, MB."""
    of_job = int(os.environ.get("SLURM_MEM_PER_NODE", 0)) * MIB or MEMORY_LIMIT
    return int(MEMORY_SHARE * min(of_job, MEMORY_LIMIT) / MB)
