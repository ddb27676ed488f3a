"""Energy from made-up counters: a folder as Linux has it, a module as NVIDIA has it."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.config import energy
from stages.config.energy import Energy, EnergyMeter, find_zones, read_gpus

MOST = 1_000_000  # microjoules: the last value of a counter before it begins anew


def add_zone(folder: Path, zone: str, name: str, value: int, most: int = MOST) -> Path:
    """A counter, and the file of its value."""
    path = folder / zone
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{most}\n")
    (path / "energy_uj").write_text(f"{value}\n")
    return path / "energy_uj"


@pytest.fixture(autouse=True)
def _without_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(energy, "NVIDIA", tmp_path / "no-driver")
    monkeypatch.setattr(energy, "used_gpus", set)


def test_packages_and_memory_are_added(tmp_path: Path) -> None:
    first = add_zone(tmp_path, "intel-rapl:0", "package-0", 100)
    second = add_zone(tmp_path, "intel-rapl:1", "package-1", 100)
    memory = add_zone(tmp_path, "intel-rapl:0:2", "dram", 100)
    with EnergyMeter(tmp_path) as meter:
        first.write_text("300100")
        second.write_text("200100")
        memory.write_text("100100")
    assert meter.total() == Energy(0.6, "package-0, dram, package-1")


def test_what_lies_inside_a_package_or_around_it_is_not_counted_twice(tmp_path: Path) -> None:
    add_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    add_zone(tmp_path, "intel-rapl:0:0", "core", 0)
    add_zone(tmp_path, "intel-rapl:0:1", "uncore", 0)
    add_zone(tmp_path, "intel-rapl:1", "psys", 0)
    add_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    (tmp_path / "intel-rapl").mkdir()  # the driver itself
    assert [zone.energy.parent.name for zone in find_zones(tmp_path)] == ["intel-rapl:0"]


def test_a_counter_that_began_anew_goes_on_from_its_most(tmp_path: Path) -> None:
    counter = add_zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    with EnergyMeter(tmp_path) as meter:
        counter.write_text("300000")
    assert meter.total().joules == pytest.approx(0.4)


def test_a_counter_that_begins_anew_more_than_once_is_looked_at_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "SECONDS_BETWEEN_LOOKS", 0.001)
    counter = add_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    with EnergyMeter(tmp_path) as meter:
        for value in (600_000, 200_000, 800_000, 400_000):  # 0.6 J each
            write_whole(counter, value)
            wait_for_a_look(meter, value)
    assert meter.total().joules == pytest.approx(2.4)


def write_whole(counter: Path, value: int) -> None:
    """As a counter is never seen half written."""
    partial = counter.with_name("partial")
    partial.write_text(f"{value}")
    partial.replace(counter)


def wait_for_a_look(meter: EnergyMeter, value: int) -> None:
    end = time.monotonic() + 10
    while meter._last != [value] and time.monotonic() < end:
        time.sleep(0.001)
    assert meter._last == [value]


def test_a_machine_without_counters_tells_nothing_and_why(tmp_path: Path) -> None:
    with EnergyMeter(tmp_path / "none") as meter:
        pass
    assert meter.total() == Energy(
        None, f"not told: no counter of a processor below {tmp_path / 'none'}"
    )


def test_a_counter_that_may_not_be_read_tells_nothing_and_which_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = add_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    add_zone(tmp_path, "intel-rapl:1", "package-1", 0)
    plain = Path.read_text

    def refuse(path: Path, *args: str, **options: str) -> str:  # root may read everything
        if path == counter:
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    with EnergyMeter(tmp_path) as meter:
        pass
    assert meter.total() == Energy(None, f"not told: {counter}: Permission denied")


def test_a_counter_that_is_lost_on_the_way_leaves_no_half_of_a_sum(tmp_path: Path) -> None:
    counter = add_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    with EnergyMeter(tmp_path) as meter:
        counter.unlink()
    assert meter.total() == Energy(None, f"not told: {counter}: No such file or directory")


def test_a_counter_that_is_no_number_is_not_one(tmp_path: Path) -> None:
    add_zone(tmp_path, "intel-rapl:0", "package-0", 0).write_text("busy")
    with EnergyMeter(tmp_path) as meter:
        pass
    assert meter.total().joules is None
    assert "busy" in meter.total().of


def test_what_fails_while_it_is_counted_fails_as_it_would(tmp_path: Path) -> None:
    add_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    with pytest.raises(ZeroDivisionError), EnergyMeter(tmp_path):
        raise ZeroDivisionError


class Nvml:
    """As NVIDIA's module: two GPUs; the second does not tell."""

    NVMLError = RuntimeError

    def __init__(self) -> None:
        self.millijoules = {"GPU-a": 1_000, "GPU-b": 5_000}

    def nvmlInit(self) -> None:
        """Nothing to load."""

    def nvmlDeviceGetCount(self) -> int:
        return len(self.millijoules)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> str:
        return [*self.millijoules][number]

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return handle

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        return self.millijoules[handle]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Nvml:
    module = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", module)  # type: ignore[arg-type]
    monkeypatch.setattr(energy, "NVIDIA", tmp_path)
    return module


def test_the_gpu_that_was_used_is_added_and_no_other(
    nvml: Nvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = add_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    monkeypatch.setattr(energy, "used_gpus", lambda: {"a"})
    with EnergyMeter(tmp_path) as meter:
        counter.write_text("500000")
        nvml.millijoules = {"GPU-a": 3_000, "GPU-b": 9_000}
    assert meter.total() == Energy(2.5, "package-0, GPU")


def test_a_gpu_that_was_not_used_does_not_count(nvml: Nvml, tmp_path: Path) -> None:
    with EnergyMeter(tmp_path / "none") as meter:
        nvml.millijoules = {"GPU-a": 3_000, "GPU-b": 9_000}
    assert meter.total().joules is None


def test_a_gpu_that_does_not_tell_is_named_beside_what_is_told(
    nvml: Nvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: str) -> int:
        raise RuntimeError("Not Supported")

    monkeypatch.setattr(nvml, "nvmlDeviceGetTotalEnergyConsumption", refuse)
    monkeypatch.setattr(energy, "used_gpus", lambda: {"a"})
    add_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    with EnergyMeter(tmp_path) as meter:
        pass
    assert meter.total() == Energy(0.0, "package-0; not told: the GPU's driver tells of no energy")


def test_without_a_driver_the_module_is_not_even_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # an import would fail
    assert read_gpus() == {}


USED = [(None, set()), (False, set()), (True, {"a"})]


@pytest.mark.parametrize(("is_initialized", "used"), USED)
def test_a_gpu_is_used_where_torch_held_memory_on_it(
    monkeypatch: pytest.MonkeyPatch, is_initialized: bool | None, used: set[str]
) -> None:
    monkeypatch.undo()
    cuda = SimpleNamespace(
        is_initialized=lambda: is_initialized,
        device_count=lambda: 2,
        get_device_properties=lambda number: SimpleNamespace(uuid="ab"[number]),
        max_memory_allocated=lambda number: [512, 0][number],
    )
    torch = None if is_initialized is None else SimpleNamespace(cuda=cuda)
    monkeypatch.setitem(sys.modules, "torch", torch)  # type: ignore[arg-type]
    assert energy.used_gpus() == used
