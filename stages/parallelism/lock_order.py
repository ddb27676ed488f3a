"""dvc.lock as `dvc repro` would have written it: its order is that in which stages ended."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read_order(lock: Path) -> list[str]:
    """Stages in the order of the file; none where there is no file."""
    return list(_load(lock).get("stages", {})) if lock.exists() else []


def restore_order(lock: Path, before: Sequence[str], order: Sequence[str]) -> None:
    """Put stages that are new in the file into the order in which `dvc repro` comes by them.

    Args:
        lock: dvc.lock.
        before: its stages, in order, at the start; these keep their places.
        order: of all stages, as `dvc repro` would run them.
    """
    from dvc.utils.serialize import modify_yaml

    now = read_order(lock)
    places: dict[str, int] = {}
    for name in [*before, *order, *now]:
        places.setdefault(name, len(places))
    wanted = sorted(now, key=places.__getitem__)
    if wanted == now:
        return
    with modify_yaml(str(lock)) as content:
        content["stages"] = {name: content["stages"][name] for name in wanted}


def _load(lock: Path) -> Any:
    from dvc.utils.serialize import load_yaml

    return load_yaml(str(lock)) or {}
