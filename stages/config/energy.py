"""What a stage takes of energy, where the machine tells: counters of processors, memory and GPUs.

Processors and memory: the counters of RAPL that Linux shows below /sys/class/powercap (kernel
documentation, power/powercap), of Intel and of AMD; they are of the whole machine, other programs
included. GPUs: the counters of NVIDIA's driver, by its library NVML, of those that torch used.
Where nothing is told, nothing is estimated.
"""

import logging
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

logger = logging.getLogger(__name__)

POWERCAP = Path("/sys/class/powercap")
NVIDIA = Path("/proc/driver/nvidia")  # there while the driver is
# The counter of a processor begins anew after 60 to 260 kJ, ten minutes of a busy server at worst.
SECONDS_BETWEEN_LOOKS = 60
MICROJOULES, MILLIJOULES = 1e-6, 1e-3


class Energy(NamedTuple):
    """What one run of a stage took.

    Attributes:
        joules: None where the machine does not tell.
        of: what was counted, or why nothing was.
    """

    joules: float | None
    of: str


class Zone(NamedTuple):
    """A counter of RAPL; all in microjoules, `most` being the last value before it is 0 again."""

    name: str
    energy: Path
    most: int

    def read(self) -> int:
        """Its value now."""
        return int(self.energy.read_text())


def find_zones(folder: Path) -> list[Zone]:
    """The counters of processor packages and of memory, which lies outside of them.

    Left out are parts of a package (core, uncore), what holds packages (psys), and the same
    packages told a second time (intel-rapl-mmio).
    """
    zones = []
    for path in sorted(folder.glob("intel-rapl:*")):
        name = (path / "name").read_text().strip()
        if name.startswith("package") or name == "dram":
            most = int((path / "max_energy_range_uj").read_text())
            zones.append(Zone(name, path / "energy_uj", most))
    return zones


class EnergyMeter:
    """Counts while its block runs; a thread looks in between, since counters begin anew."""

    def __init__(self, folder: Path) -> None:
        """Find the counters of RAPL below a folder, `POWERCAP` but in tests."""
        self._zones: list[Zone] = []
        self._why_not = f"no counter of a processor below {folder}"
        self._last: list[int] = []
        self._microjoules = 0
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._gpus: Mapping[str, int] = {}
        try:
            self._zones = find_zones(folder)
            self._last = [zone.read() for zone in self._zones]
        except (OSError, ValueError) as error:
            self._give_up(error)

    def __enter__(self) -> Self:
        """Begin."""
        self._gpus = read_gpus()
        if self._zones:
            self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, whatever became of the block."""
        if self._watcher.is_alive():
            self._ended.set()
            self._watcher.join()
        self._look()

    def total(self) -> Energy:
        """All since the begin; of processors and memory, and of the GPUs that torch used."""
        counted = [zone.name for zone in self._zones]
        silent = [] if self._zones else [self._why_not]
        joules = self._microjoules * MICROJOULES if self._zones else 0.0
        used = used_gpus()
        now = read_gpus() if used else {}
        for gpu in sorted(used):
            if gpu in now and gpu in self._gpus:
                joules += (now[gpu] - self._gpus[gpu]) * MILLIJOULES
                counted.append("GPU")
            else:
                silent.append("the GPU's driver tells of no energy")
        said = [", ".join(dict.fromkeys(counted)), *(f"not told: {why}" for why in silent)]
        return Energy(round(joules, 1) if counted else None, "; ".join(filter(None, said)))

    def _watch(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LOOKS):
            self._look()

    def _look(self) -> None:
        """Add what the counters rose by since the last look."""
        try:
            now = [zone.read() for zone in self._zones]
        except (OSError, ValueError) as error:
            self._give_up(error)
            return
        for zone, before, after in zip(self._zones, self._last, now, strict=True):
            self._microjoules += after - before if after >= before else after + zone.most - before
        self._last = now

    def _give_up(self, error: OSError | ValueError) -> None:
        """Without one of the counters a sum would say too little: say nothing, and why."""
        where = getattr(error, "filename", None)
        reason = getattr(error, "strerror", None) or str(error)
        self._why_not = f"{where}: {reason}" if where else reason
        self._zones = []


def read_gpus() -> Mapping[str, int]:
    """What each GPU took since its driver was loaded, in millijoules, by UUID; none, as many do."""
    if not NVIDIA.exists():
        return {}
    import pynvml  # 40 ms

    try:
        pynvml.nvmlInit()
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(number)
            for number in range(pynvml.nvmlDeviceGetCount())
        ]
        return {
            pynvml.nvmlDeviceGetUUID(handle).removeprefix("GPU-"): (
                pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            )
            for handle in handles
        }
    except pynvml.NVMLError as error:
        logger.debug("GPUs do not tell their energy: %s", error)
        return {}


def used_gpus() -> set[str]:
    """UUIDs of the GPUs on which torch, if it was imported at all, held anything."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return set()
    return {
        str(torch.cuda.get_device_properties(number).uuid).removeprefix("GPU-")
        for number in range(torch.cuda.device_count())
        if torch.cuda.max_memory_allocated(number)
    }
