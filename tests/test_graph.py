"""dvc.yaml against a run: what a stage reads, writes and is told is what DVC watches, and no more.

All stages run once on a few phantoms, in this process. Meanwhile every file that is opened and
every parameter that is looked at is noted.
"""

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from stages.audit import audit_view
from stages.cam import explain_case
from stages.compare import compare_all
from stages.config.load import parse_params
from stages.config.params import Params, Section
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.evaluate import evaluate_case
from stages.external import score_elsewhere
from stages.fetch import fetch_download
from stages.prepare import prepare_dataset
from stages.report import report_all
from stages.train import train_case
from stages.weights import make_weights
from tests.conftest import load_raw_params, shrink
from tests.downloads.server import Site, serving

ROOT = Path(__file__).parents[1]
GRAPH = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
STAGES: dict[str, Callable[..., None]] = {
    "fetch": fetch_download,
    "prepare": prepare_dataset,
    "crop": crop_view,
    "audit": audit_view,
    "weights": make_weights,
    "train": train_case,
    "evaluate": evaluate_case,
    "cam": explain_case,
    "external": score_elsewhere,
    "compare": compare_all,
    "report": report_all,
}
# Said to DVC as the dependency `${item.source.path}`; the code that makes things has no use for it.
NOT_READ = re.compile(r"^(datasets|weights)\.\*\.(source|truth)\.path$")


@dataclass
class Trace:
    """What one run of one stage did."""

    stage: str
    entry: str | None
    read: set[str] = field(default_factory=set)  # files below data/, metrics/ and plots/
    written: set[str] = field(default_factory=set)
    params: set[str] = field(default_factory=set)  # dotted, of single values


class Tracer:
    """Notes what is done while a stage runs."""

    def __init__(self, root: Path, params: Params) -> None:
        self.root = root
        self.now: Trace | None = None
        self.paths = dict(_sections(params, ""))
        sys.addaudithook(self._on_event)  # for the rest of the process; it does nothing outside

    @contextmanager
    def of(self, trace: Trace) -> Iterator[None]:
        self.now = trace
        try:
            yield
        finally:
            self.now = None

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.now is None or event not in ("open", "os.rename", "os.link"):
            return
        if event == "open":
            mode = arguments[1]
            if not isinstance(mode, str):
                mode = "w" if arguments[2] & (os.O_WRONLY | os.O_RDWR) else "r"
            self._note(arguments[0], self.now.read if mode.startswith("r") else None)
        elif event == "os.link":
            self._note(arguments[0], self.now.read)
        else:  # the one writer moves files onto their places
            self._note(arguments[1], self.now.written)

    def _note(self, path: object, into: set[str] | None) -> None:
        if into is None or not isinstance(path, str | os.PathLike):
            return
        full = os.path.abspath(os.fspath(path))
        if full.startswith(f"{self.root}{os.sep}") and ".partial" not in full:
            into.add(os.path.relpath(full, self.root))

    def on_field(self, section: Section, name: str) -> None:
        path = self.paths.get(id(section))
        if self.now is not None and path is not None:
            self.now.params.add(f"{path}{name}")

    def on_whole(self, section: Section) -> None:
        if self.now is not None and id(section) in self.paths:
            self.now.params.update(_leaves(section, self.paths[id(section)]))


def _sections(value: Any, path: str) -> Iterator[tuple[int, str]]:
    """Every section by its identity, with the path of what it holds."""
    if isinstance(value, Section):
        yield id(value), path
        for name, inner in value.__dict__.items():
            yield from _sections(inner, f"{path}{name}.")
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _sections(inner, f"{path}{name}.")


def _leaves(value: Any, path: str) -> Iterator[str]:
    """Dotted paths of single values; mappings without sections in them are one value."""
    inner = value.__dict__ if isinstance(value, Section) else value
    for name, of in inner.items():
        if isinstance(of, Section) or _holds_sections(of):
            yield from _leaves(of, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def _holds_sections(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else ()
    return any(isinstance(entry, Section) or _holds_sections(entry) for entry in inner)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving(Site(b"picture")) as running:
        yield running


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Params:
    """All that makes a stage look at something: what the default parameters leave out comes too.

    A download, a second data set for an external test, one of files whose splits leak, and weights
    that were taught the pretext task.
    """
    raw = shrink(load_raw_params())
    source = {"kind": "folder", "path": str(leaking_files(tmp_path_factory.mktemp("files")))}
    group = {"kind": "pattern", "pattern": "^(p[0-9]+)", "patients_per_class": False}
    raw["datasets"]["files"] = raw["datasets"]["ct"] | {"source": source, "group": group}
    columns = {"file": "name", "label": "finding", "patient": None, "split": None, "fold": "k"}
    table = {"path": "table.csv", **columns}
    metadata = {"table": "table.csv", "file": "name", "columns": {"age": "number"}}
    raw["datasets"]["files"] |= {"allow_leakage": True, "ignore": ["masks"]}
    raw["datasets"]["files"] |= {"table": table, "metadata": metadata}
    few = {"kind": "ct_b", "patients": {"covid": 6, "normal": 6}, "images_per_patient": 1}
    cohort = few | {"marker_share": {"covid": 0.2, "normal": 0.2}}
    raw["datasets"]["other"] = raw["datasets"]["ct"] | {"cohort": cohort}
    raw["views"]["other"] = raw["views"]["full"] | {"dataset": "other"}
    classes = {"covid": "covid", "normal": "normal"}
    raw["external"] = {"away": {"case": "full-ce", "view": "other", "classes": classes}}
    raw["searches"] = {"of-two": {"cases": list(raw["cases"]), "by": "auroc"}}
    raw["weights"]["cnn3-pretext"] = {
        "model": "cnn3",
        "source": {"kind": "pretext", "path": "stages/phantoms"},
    }
    raw["pretext"] |= {"images": 60, "size_px": 80}
    file = {"address": site.url("1.png"), "file": None, "unpack": False}
    raw["downloads"] = {"x": {"a": file | {"sha256": hashlib.sha256(site.content).hexdigest()}}}
    return parse_params(raw)


def leaking_files(folder: Path) -> Path:
    """Pictures in train, val and test folders (of 16 bits), and a table; a patient is in two."""
    rng = np.random.default_rng(0)
    rows = ["name,finding,k,age"]
    for split in ("train", "val", "test"):
        for number, label in enumerate(("covid", "normal")):
            path = folder / split / label / f"p{number if split != 'val' else 2 + number}.png"
            path.parent.mkdir(parents=True)
            dtype = np.uint16 if split == "test" else np.uint8
            Image.fromarray(rng.integers(0, 256, (40, 48), dtype=dtype)).save(path)
            rows.append(f"{path.relative_to(folder)},{label},{number},50")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def traces(
    params: Params, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, list[Trace]]]:
    root = tmp_path_factory.mktemp("traced")
    tracer = Tracer(root, params)
    plain, pickled, dumped = Section.__getattribute__, Section.__getstate__, Section.model_dump

    def get(section: Section, name: str) -> Any:
        if name in type(section).model_fields and not isinstance(
            value := plain(section, name), Section
        ):
            tracer.on_field(section, name)
            return value
        return plain(section, name)

    def pickle(section: Section) -> Any:  # to another process, where nothing is noted
        tracer.on_whole(section)
        return pickled(section)

    def dump(section: Section, **options: Any) -> Any:
        tracer.on_whole(section)
        return dumped(section, **options)

    patch = pytest.MonkeyPatch()
    for name, method in (("getattribute", get), ("getstate", pickle)):
        patch.setattr(Section, f"__{name}__", method)
    patch.setattr(Section, "model_dump", dump)
    try:
        yield {stage: list(_run(stage, params, tracer)) for stage in STAGES}
    finally:
        patch.undo()


def _run(stage: str, params: Params, tracer: Tracer) -> Iterator[Trace]:
    entries = [None]
    if "foreach" in GRAPH[stage]:
        entries = list(getattr(params, GRAPH[stage]["foreach"].strip("${}")))
    for entry in entries:
        trace = Trace(stage, entry)
        arguments = (params, Paths(tracer.root)) if entry is None else (params, entry)
        with tracer.of(trace):
            STAGES[stage](*arguments, *(() if entry is None else (Paths(tracer.root),)))
        yield trace


def declared(params: Params, stage: str, entry: str | None, *kinds: str) -> list[str]:
    """Entries of a stage in dvc.yaml, filled in for one entry of params.yaml."""
    body = GRAPH[stage].get("do", GRAPH[stage])
    listed = [item for kind in kinds for item in body.get(kind, [])]
    names = [item if isinstance(item, str) else next(iter(item)) for item in listed]
    return [_filled_in(name, params, stage, entry) for name in names]


def _filled_in(text: str, params: Params, stage: str, entry: str | None) -> str:
    def value(match: re.Match[str]) -> str:
        first, *rest = match[1].split(".")
        if first == "key":
            return str(entry)
        here: Any = params
        if first == "item":
            here = getattr(params, GRAPH[stage]["foreach"].strip("${}"))[entry]
        else:
            rest = [first, *rest]
        for name in rest:
            here = here.__dict__[name]
        return str(here)

    return re.sub(r"\$\{([^}]+)\}", value, text)


def covers(listed: str, path: str, separator: str) -> bool:
    return path == listed or path.startswith(listed.rstrip(separator) + separator)


def is_listed(path: str, listed: list[str], separator: str) -> bool:
    return any(covers(entry, path, separator) for entry in listed)


def is_scratch(path: str) -> bool:
    return path.startswith("data/scratch/")


@pytest.mark.parametrize("stage", STAGES)
def test_every_file_that_a_stage_reads_is_a_dependency(
    params: Params, traces: dict[str, list[Trace]], stage: str
) -> None:
    for trace in traces[stage]:
        listed = declared(params, stage, trace.entry, "deps", "outs", "metrics", "plots")
        missing = {p for p in trace.read if not is_scratch(p) and not is_listed(p, listed, "/")}
        assert not missing


@pytest.mark.parametrize("stage", STAGES)
def test_every_dependency_on_data_is_read(
    params: Params, traces: dict[str, list[Trace]], stage: str
) -> None:
    for trace in traces[stage]:
        deps = [d for d in declared(params, stage, trace.entry, "deps") if _is_data(d)]
        unread = [d for d in deps if not any(covers(d, path, "/") for path in trace.read)]
        assert not unread


def _is_data(path: str) -> bool:
    # The check's output is waited for, not read; params.yaml is read by whoever starts a stage; the
    # files of a source, which lie elsewhere, are read by other processes.
    is_elsewhere = path.startswith("stages/") or Path(path).is_absolute()
    return not is_elsewhere and path not in ("data/check.json", "params.yaml")


@pytest.mark.parametrize("stage", STAGES)
def test_every_file_that_a_stage_writes_is_an_output_and_every_output_is_written(
    params: Params, traces: dict[str, list[Trace]], stage: str
) -> None:
    for trace in traces[stage]:
        outs = declared(params, stage, trace.entry, "outs", "metrics", "plots")
        written = {path for path in trace.written if not is_scratch(path)}
        assert written
        assert not {path for path in written if not is_listed(path, outs, "/")}
        assert not [out for out in outs if not any(covers(out, path, "/") for path in written)]


@pytest.mark.parametrize("stage", STAGES)
def test_every_parameter_that_a_stage_uses_is_listed(
    params: Params, traces: dict[str, list[Trace]], stage: str
) -> None:
    for trace in traces[stage]:
        if "params.yaml" in declared(params, stage, trace.entry, "deps"):
            continue
        listed = declared(params, stage, trace.entry, "params")
        used = {path for path in trace.params if not _is_lookup(params, path)}
        assert not {path for path in used if not is_listed(path, listed, ".")}


def _is_lookup(params: Params, path: str) -> bool:
    """Whether a path is of a whole section of entries, of which single ones are looked at."""
    return path in Params.model_fields and _holds_sections(params.__dict__[path])


@pytest.mark.parametrize("stage", STAGES)
def test_every_listed_parameter_is_used_by_some_entry(
    params: Params, traces: dict[str, list[Trace]], stage: str
) -> None:
    used = {_of_any_entry(params, path) for trace in traces[stage] for path in trace.params}
    listed = {
        _of_any_entry(params, path)
        for trace in traces[stage]
        for path in _leaves(params, "")
        if is_listed(path, declared(params, stage, trace.entry, "params"), ".")
    }
    # A variant is told by its type as well, without a look at its `kind`.
    idle = {p for p in listed - used if not p.endswith(".kind") and not NOT_READ.match(p)}
    assert not idle


def _of_any_entry(params: Params, path: str) -> str:
    """`cases.*.view` of `cases.a.view`; a recipe is one thing, which the training gets as it is."""
    section, *rest = path.split(".")
    if section == "recipes":
        return "recipes.*"
    return ".".join([section, "*", *rest[1:]]) if rest and _is_lookup(params, section) else path
