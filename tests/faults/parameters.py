"""Parameter files as people and generators damage them, through `check` and what comes after it.

    python -m tests.faults.parameters            # 1,000 files, about three minutes

Each file is the default params.yaml, or the few phantoms of the tests, with one to three changes of
structure, types, limits, references or YAML. It must be refused, with one line per problem, or
accepted; and what is accepted must hold: DVC makes its graph of it, every case its loss, optimiser,
schedule and runs, and of `--stages` files each stage runs to its end. A few go through
`python -m stages.check` itself. A traceback, a hang, a message that is no message, and an accepted
file that fails later are faults; each is kept below `--keep`, and the exit status is 1.
"""

import argparse
import copy
import faulthandler
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from dvc.exceptions import DvcException
from dvc.repo import Repo
from PIL import Image

from stages.audit import audit_view
from stages.cam import explain_case
from stages.check import check_params
from stages.compare import compare_all
from stages.config.errors import UserError
from stages.config.load import load_params
from stages.config.params import Params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.evaluate import evaluate_case
from stages.external import score_elsewhere
from stages.modeling.augment import Augmenter
from stages.modeling.losses import build_loss
from stages.modeling.optimizer import build_optimizer, build_schedule
from stages.modeling.outputs import Outputs
from stages.prepare import prepare_dataset
from stages.report import report_all
from stages.train import train_case
from stages.weights import make_weights
from tests.conftest import REPOSITORY, load_raw_params, shrink

LIMIT_S = 20  # of a check in this process; the slowest of the default matrix takes 3
STAGES_LIMIT_S = 240
LONGEST_LINE = 2500  # characters of a problem: a long text, and a list of what is known
MOST_LINES = 101
Tree = dict[str, Any]
Path_ = tuple[Any, ...]


class Token(str):
    """Text that stands in the file as it is, without quotes."""


class Outcome(NamedTuple):
    """What became of a file, and what was said."""

    kind: str
    detail: str = ""


class _Hang(BaseException):
    """The time is up; nothing that catches errors catches this."""


# --- the tree as text ---------------------------------------------------------------------------


def emit(node: Any, indent: int = 0) -> str:
    """YAML of a tree: blocks to the third level, flow below it, tokens as they are."""
    if isinstance(node, dict) and node and indent < 3:
        pad = "  " * indent
        lines = []
        for key, value in node.items():
            is_block = isinstance(value, dict) and value and indent < 2
            inner = emit(value, indent + 1) if is_block else flow(value)
            lines.append(f"{pad}{flow(key)}:{chr(10) if is_block else ' '}{inner}")
        return "\n".join(lines)
    return flow(node)


def flow(node: Any) -> str:
    """YAML in one line."""
    if isinstance(node, Token):
        return str(node)
    if isinstance(node, dict):
        return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(map(flow, node)) + "]"
    return json.dumps(node)


def places(node: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Paths of all keys and entries below a node."""
    entries = node.items() if isinstance(node, dict) else ()
    if isinstance(node, list):
        entries = enumerate(node)
    for key, value in entries:
        yield (*path, key)
        yield from places(value, (*path, key))


def at(tree: Any, path: Path_) -> Any:
    """The node at a path."""
    for key in path:
        tree = tree[key]
    return tree


def put(tree: Tree, path: Path_, value: Any) -> None:
    """Set what stands at a path."""
    at(tree, path[:-1])[path[-1]] = value


def pick(tree: Tree, rng: random.Random, *, leaves: bool = False, shallow: bool = False) -> Path_:
    """A random place: any, or a scalar, or one of the first three levels."""
    found = list(places(tree))
    if leaves:
        found = [p for p in found if not isinstance(at(tree, p), dict | list)] or found
    if shallow:
        found = [p for p in found if len(p) <= 3]
    return rng.choice(found)


def rename(tree: Tree, path: Path_, name: Any) -> None:
    """Give the key at a path another name, in its place."""
    parent = at(tree, path[:-1])
    if isinstance(parent, dict):
        entries = [(name if key == path[-1] else key, value) for key, value in parent.items()]
        parent.clear()
        parent.update(entries)


# --- changes of structure, types, limits, references --------------------------------------------

ODD_KEYS = (
    *("", " ", "a b", "a.b", "A", "\u00e9", "null", "true", "1", "1e3", "-h", "--help", "..", "."),
    *(
        "a/b",
        "/",
        "~",
        "CON",
        "x" * 300,
        "${seed}",
        "$",
        "%s",
        "{x}",
        "a\nb",
        "\u202egnp",
        "_",
        "-",
    ),
    *("\U0001f600", "*", "&a", "!t", "a:b", "a#b", "__init__", "item", "key", "0x10", "2020-01-01"),
    *("kind", "size", "nfiles", "model", "x" * 240, "best", "runs", "[key]", "a'b", 'a"b', "<<"),
)
ODD_TOKENS = (
    *(
        "1",
        "0",
        "-0",
        "-0.0",
        "-1",
        "1e400",
        "-1e400",
        ".inf",
        "-.inf",
        ".nan",
        "inf",
        "nan",
        "010",
    ),
    *("0o17", "0x" + "f" * 5000, "9" * 5000, "0b101", "1_000", "1:30", "190:20:30", "yes", "no"),
    *(
        "on",
        "true",
        "false",
        "null",
        "~",
        "2020-01-01",
        "2020-01-01T10:00:00Z",
        "0.1.2",
        "''",
        "' '",
    ),
    *(
        '"\\0"',
        '"\\x07"',
        '"\\uD800"',
        '"\\u202e"',
        "!!binary aGk=",
        "!!set {a, b}",
        "!!omap [a: 1]",
    ),
    *("!!python/object:os.system x", "!!int x", "!!float 1e", "!!timestamp x", "!!bool maybe"),
    *("!!null x", "!!str 1", "!x y", "1e-400", "5e-324", "1.7976931348623157e308", "0.1", "'0.1'"),
    *("'1e999'", "'nan'", "'\u0663'", "1e", "0x", "+1", "1.", ".5", "'${seed}'", "'${x}'", "'$'"),
    *("[]", "{}", "[[]]", "[null]", "{a: b}", "{1: 2}", "{null: 1}", "{[1]: 2}", "{? {a: 1} : 2}"),
    *(
        "9999-99-99",
        "0001-01-01",
        "12345678901234567890",
        "'" + "x" * 5000 + "'",
        "? a",
        "- a",
        "|",
    ),
    *(
        "[" * 45 + "]" * 45,
        "[" * 2000 + "]" * 2000,
        "{a: " * 60 + "1" + "}" * 60,
        "1e5000",
        "!!map x",
    ),
    *(
        "=",
        "<<",
        "!!merge x",
        "!!value x",
        "!!seq {}",
        "!!float .INF",
        "-.INF",
        "2001-1-1 1:1:1 +25:99",
    ),
)
TYPICAL: dict[str, tuple[Any, ...]] = {
    "seed": (0, 2**31 - 1, 2**31, -1, 2**64),
    "seeds": ([0], [2**31 - 1], [1, 1], [1, 2], [2**31], [], list(range(101))),
    "folds": (1, 2, 3, 5, 10, 20, 21, 50, 51, "given"),
    "patients": ({"covid": 1, "normal": 1}, {"covid": 2, "normal": 40}, {"normal": 9}, {}),
    "images_per_patient": (1, 100, 101, 0),
    "marker_share": ({"covid": 0, "normal": 1}, {"covid": 1.0, "normal": 1.0}, {"covid": -0.1}),
    "classes": ({"covid": ["covid"], "normal": ["covid"]}, {"covid": ["x"], "normal": ["y"]}),
    "positive": ("normal", "covid", "other", ""),
    "implies": ({"covid": ["normal"]}, {"covid": ["normal"], "normal": ["covid"]}, {"x": ["y"]}),
    "ignore": (["*"], ["!"], [""], ["**"], ["["], ["covid"], ["!covid"], ["\\"], ["a" * 9999]),
    "pattern": (
        "(",
        "(.*)",
        "()",
        "^$",
        "(?P<a>.)",
        "((a+)+)+$",
        "x",
        "(?i)(p)",
        "\\",
        "(\\d+)/(x)",
    ),
    "grey": (
        {"kind": "window", "low": 1, "high": 1},
        {"kind": "window", "low": -1e308, "high": 1e308},
    ),
    "low": (0, 25, 25.1, -1, 99, 1e308),
    "high": (100, 75, 74.9, 100.1, -1e308),
    "size_px": (31, 32, 33, 47, 64, 79, 80, 81, 96, 97, 512, 513, 2048, 4096, 4097),
    "split": (
        {"train": 0.999998, "val": 1e-6, "test": 1e-6},
        {"train": 0.01, "val": 0.01, "test": 0.98},
        {"train": 0.98, "val": 0.01, "test": 0.01},
        {"train": 1, "val": 0, "test": 0},
    ),
    "train": ("all", "head", "last-1", "last-2", "last:3", "last-4", "last-9999", "last-0", 0.3),
    "max_rejected": (0, 1, 1.0001, -0.0),
    "fraction": (0.1, 1, 0.0999, 1.01),
    "margin": (0, 0.5, 0.51),
    "crop": (
        {"kind": "center", "fraction": 0.1},
        {"kind": "none"},
        {"kind": "lungs", "margin": 0.5, "fallback_fraction": 0.1},
    ),
    "fit": ("stretch", "letterbox", "fill"),
    "images": (60, 59, 100_000, 100_001),
    "model": (
        "cnn3",
        "resnet10t",
        "vgg11_fc",
        "cnn3.x",
        "",
        "no_such",
        "resnet18.bogus",
        "../x",
        "a b",
    ),
    "source": (
        {"kind": "folder", "path": "pictures"},
        {"kind": "archive", "path": "pictures.zip"},
        {"kind": "folder", "path": "pictures.zip"},
        {"kind": "archive", "path": "pictures"},
        {"kind": "folder", "path": ""},
        {"kind": "folder", "path": "."},
        {"kind": "folder", "path": "data"},
        {"kind": "folder", "path": "data/views/full"},
        {"kind": "folder", "path": "a\0b"},
        {"kind": "folder", "path": "x" * 5000},
        {"kind": "folder", "path": "/dev/null"},
        {"kind": "archive", "path": "/dev/zero"},
        {"kind": "folder", "path": "~"},
        {"kind": "folder", "path": "${seed}"},
        {"kind": "folder", "path": "s3://bucket/x"},
        {"kind": "phantom", "path": "stages/phantoms/"},
        {"kind": "file", "path": "gone.pth", "scaling": {"kind": "imagenet"}},
        {"kind": "file", "path": "pictures.zip", "scaling": {"kind": "imagenet"}},
        {"kind": "file", "path": "pictures", "scaling": {"kind": "meta"}},
        {"kind": "file", "path": "text.pth", "scaling": {"kind": "fixed", "mean": 0, "std": 1e-4}},
        {"kind": "file", "path": "a\0b.pth", "scaling": {"kind": "imagenet"}},
        {"kind": "file", "path": "x" * 5000 + ".pth", "scaling": {"kind": "imagenet"}},
        {"kind": "file", "path": "folder.pth", "scaling": {"kind": "imagenet"}},
        {"kind": "random", "path": "stages/modeling/initial.py"},
        {"kind": "pretext", "path": "stages/phantoms"},
        {"kind": "timm", "path": "stages/modeling/initial.py"},
        {"kind": "package", "path": "stages/modeling/packages.py"},
    ),
    "table": (
        {"path": "m.csv", "file": "file", "label": "label", "patient": None, "split": None}
        | {"fold": None},
        {"path": "../m.csv", "file": "file", "label": None, "patient": None, "split": None}
        | {"fold": "fold"},
        {"path": "", "file": "", "label": "", "patient": "", "split": "", "fold": ""},
        {"path": "a\0b", "file": "f", "label": None, "patient": None, "split": None}
        | {"fold": None},
    ),
    "metadata": (
        {"table": "m.csv", "file": "file", "columns": {"age": "number", "label": "category"}},
        {"table": "../m.csv", "file": "file", "columns": {"age": "number"}},
        {"table": "", "file": "", "columns": {"": "number"}},
        {"table": "m.csv", "file": "file", "columns": {}},
        {"table": "a\0b", "file": "f", "columns": {"image_id": "category", "age ": "number"}},
    ),
    "truth": (
        {"kind": "source", "path": "elsewhere"},
        {"kind": "files", "path": "a\0b", "lungs": "..", "lung_values": [], "boxes": None}
        | {"findings": [], "max_unmatched": 0},
        {"kind": "files", "path": ".", "lungs": None, "lung_values": [1], "boxes": "params.yaml"}
        | {"findings": ["Mass"], "max_unmatched": 1},
        {"kind": "files", "path": "", "lungs": None, "lung_values": [], "boxes": None}
        | {"findings": ["Mass"], "max_unmatched": 1},
    ),
    "group": (
        {"kind": "table", "patients_per_class": True},
        {"kind": "pattern", "pattern": "^(p\\d+)", "patients_per_class": False},
        {"kind": "pattern", "pattern": "(", "patients_per_class": False},
        {"kind": "none"},
    ),
    "flip": (0, 1),
    "crop_area": (1e-300, 1e-6, 1, 0, 1.1),
    "rotate_deg": (0, 180, 180.1),
    "scale": (0, 0.999999, 1),
    "shift": (0, 0.999999, 1),
    "noise": (0, 1),
    "contrast": (0, 0.999999, 1),
    "optimizer": ("sgd", "adam", "adamw", "lion"),
    "lr": (10, 10.0001, 1e-300, 5e-324, 0, 1e-5),
    "weight_decay": (0, 1, 1.1),
    "beta2": (0, 0.99, 1),
    "schedule": ("constant", "cosine", "onecycle", "step"),
    "epochs": (1, 10_000, 10_001, 0, 2),
    "patience": (1, 10_000, 10_001),
    "keep": ("last", "best", "best_accuracy"),
    "ema": (0, 0.999999, 1, 0.99),
    "batch_size": (1, 2, 3, 31, 32, 33, 63, 64, 4096, 4097),
    "layer_decay": (0.1, 1, 0.0999, 1.1),
    "head_epochs": (0, 1, 2, 10_000, 10_001),
    "drop_path": (0, 0.1, 0.999999, 1),
    "mixup": (0, 1e-300, 0.2, 10, 10.1),
    "cache_views": (0, 1, 64, 65),
    "devices": (1, 0, 1025),
    "num_nodes": (1, 0, 1025),
    "strategy": ("auto", "ddp_find_unused_parameters_true", "fsdp"),
    "held_out": ("val", "test", "both", "train"),
    "grouping": ("group", "none"),
    "augmented_copies": (0, 1, 20, 21),
    "ensemble": (True, False),
    "mirror": (True, False, "left"),
    "head": ([], [1], [100_000], [100_000, 100_000], [1] * 8, [1] * 9, [0]),
    "dropout": (0, 0.999999, 1),
    "loss": (
        {"kind": "focal", "gamma": 20, "alpha": 1e-300},
        {"kind": "focal", "gamma": 0, "alpha": None},
        {"kind": "bce", "label_smoothing": 0.999999},
        {"kind": "weighted_ce", "label_smoothing": 0.5},
        {"kind": "ce", "label_smoothing": 1},
    ),
    "sampler": ("weighted", "none"),
    "bootstrap_draws": (99, 100, 100_000, 100_001),
    "prevalences": ([], [0.5] * 20, [0.5, 0.5], [5e-324, 0.5], [1 - 1e-16], [0]),
    "costs": (
        {},
        {"ct": {"covid": {"normal": 1e9}, "normal": {"covid": 0}}},
        {"ct": {"covid": {"normal": 0}, "normal": {"covid": 0}}},
        {"ct": {"covid": {"covid": 0, "normal": 1}}},
        {"x": {}},
    ),
    "ordered": ({}, {"ct": ["covid", "normal"]}, {"ct": ["covid"]}, {"ct": []}, {"x": ["y"]}),
    "methods": (["scorecam"], ["gradcam", "gradcam"], [], ["hirescam", "layercam", "xgradcam"]),
    "negative": (0, 1, 10_000, 10_001),
    "errors": (0, 10_000),
    "uncertain": (0, 10_000),
    "road_images": (0, 10_000),
    "lesion_images": (0, 10_000),
    "target_layers": (
        {},
        {"cnn3": "conv1"},
        {"cnn3": ""},
        {"cnn3": "x"},
        {"x": "y"},
        {"cnn3": "fc"},
    ),
    "accelerator": ("cpu", "auto", "gpu"),
    "precision": ("bf16", "auto", "fp32", "fp16"),
    "design": (None, "retrospective", "both", ""),
    "funding": (None, "", " ", "x" * 1000, "x" * 1001, "<script>", "a\nb", 2020, "{{ x }}"),
    "provenance": ("", "x" * 5000, "<script>", "a\nb", "\u202e", "${seed}", "{{ x }}"),
}


def drop(tree: Tree, rng: random.Random) -> None:
    """Remove a key or an entry."""
    path = pick(tree, rng)
    del at(tree, path[:-1])[path[-1]]


def misspell(tree: Tree, rng: random.Random) -> None:
    """Give a key another name: a slip, or an odd one."""
    path = pick(tree, rng)
    key = str(path[-1])
    slips = (
        key.upper(),
        key[:-1],
        key + "s",
        key.replace("_", "-"),
        f" {key}",
        rng.choice(ODD_KEYS),
    )
    rename(tree, path, rng.choice(slips))


def move(tree: Tree, rng: random.Random) -> None:
    """Put a part somewhere else, taking it away or leaving it."""
    path, target = pick(tree, rng), pick(tree, rng)
    part = copy.deepcopy(at(tree, path))
    if rng.random() < 0.5:
        put(tree, target, part)
        return
    parent = at(tree, target[:-1])
    if isinstance(parent, dict):
        parent[path[-1]] = part
    else:
        parent.append(part)
    if rng.random() < 0.5:
        del at(tree, path[:-1])[path[-1]]


def replace(tree: Tree, rng: random.Random) -> None:
    """A section becomes something of another kind."""
    path = pick(tree, rng, shallow=True)
    old = at(tree, path)
    new = (
        None,
        [],
        {},
        [old],
        {"x": old},
        "text",
        7,
        [1, 2],
        True,
        {"kind": "none"},
        {"kind": None},
    )
    put(tree, path, copy.deepcopy(rng.choice(new)))


def mistype(tree: Tree, rng: random.Random) -> None:
    """A value becomes a token that YAML takes for something else."""
    put(tree, pick(tree, rng, leaves=True), Token(rng.choice(ODD_TOKENS)))


def retype_key(tree: Tree, rng: random.Random) -> None:
    """A key becomes a token that YAML takes for something else."""
    rename(tree, pick(tree, rng), Token(rng.choice(ODD_TOKENS)))


def set_limit(tree: Tree, rng: random.Random) -> None:
    """A value at, near or over what is allowed for its key."""
    known = [p for p in places(tree) if p[-1] in TYPICAL]
    if known:
        key = rng.choice(sorted({p[-1] for p in known}))
        path = rng.choice([p for p in known if p[-1] == key])
        put(tree, path, copy.deepcopy(rng.choice(TYPICAL[key])))


REFERENCES = ("view", "weights", "augment", "recipe", "protocol", "dataset", "case", "positive")


def refer(tree: Tree, rng: random.Random) -> None:
    """A reference to something else: of its kind, of another kind, itself, or nothing."""
    names = [str(p[-1]) for p in places(tree) if len(p) == 2]
    places_ = [p for p in places(tree) if p[-1] in REFERENCES and len(p) > 1]
    places_ += [p for p in places(tree) if p[0] == "comparisons" and len(p) == 3]
    if places_:
        path = rng.choice(places_)
        own = str(path[1])
        put(tree, path, rng.choice((own, own, rng.choice(names), rng.choice(ODD_KEYS))))


def start_from_cases(tree: Tree, rng: random.Random) -> None:
    """Cases that start from each other: a chain, or a cycle."""
    cases = tree.get("cases")
    if isinstance(cases, dict) and cases:
        names = list(cases)
        rng.shuffle(names)
        for name, start in zip(names, names[1:] + names[: rng.randint(0, 1)], strict=False):
            if isinstance(cases[name], dict):
                cases[name]["weights"] = start


def rename_entry(tree: Tree, rng: random.Random) -> None:
    """An entry gets an odd name, everywhere it is named."""
    entries = [p for p in places(tree) if len(p) == 2 and p[0] in SECTIONS]
    if not entries:
        return
    path, name = rng.choice(entries), rng.choice(ODD_KEYS)
    rename(tree, path, name)
    for place in list(places(tree)):
        if at(tree, place) == path[-1] and isinstance(place[-1], str | int):
            put(tree, place, name)


SECTIONS = (
    *("datasets", "views", "weights", "augmentations", "recipes", "protocols", "cases"),
    *("comparisons", "external"),
)


def copy_entry(tree: Tree, rng: random.Random) -> None:
    """An entry twice, under another name, with a limit in the copy."""
    entries = [p for p in places(tree) if len(p) == 2 and p[0] in SECTIONS]
    if entries:
        path = rng.choice(entries)
        twin = copy.deepcopy(at(tree, path))
        if isinstance(twin, dict) and twin:
            set_limit(twin, rng)
        at(tree, path[:-1])[rng.choice(("twin", "0", "9", "_"))] = twin


STRUCTURE = (drop, misspell, move, replace)
TYPES = (mistype, mistype, retype_key)
LIMITS = (set_limit, set_limit, set_limit, copy_entry)
REFERRING = (refer, refer, start_from_cases, rename_entry)
OF_TREES: dict[str, tuple[Callable[[Tree, random.Random], None], ...]] = {
    "structure": STRUCTURE,
    "types": TYPES,
    "limits": LIMITS,
    "references": REFERRING,
}

# --- changes of the text ------------------------------------------------------------------------

LAUGHS = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10))


def trick(text: str, rng: random.Random) -> bytes:
    """The text with one trick of YAML or of encodings."""
    lines = text.split("\n")
    line = rng.randrange(len(lines))
    tricks: tuple[Callable[[], str | bytes], ...] = (
        lambda: "\ufeff" + text,
        lambda: text.replace("\n", "\r\n"),
        lambda: text.replace("\n", "\r"),
        lambda: text.replace("\n", rng.choice("\u0085\u2028\u2029\x0b\x0c"), 3),
        lambda: text.encode(rng.choice(("utf-16", "utf-32", "utf-16-le", "utf-7", "cp037"))),
        lambda: insert(
            text, rng, rng.choice(("\0", "\x1b[31m", "\x7f", "\ufffe", "\u200b", "\ud7ff"))
        ),
        lambda: insert(text, rng, "\0").encode() + bytes(rng.randrange(256) for _ in range(9)),
        lambda: b"\xff" + text.encode(),
        lambda: text.encode() + b"\xc3\x28",
        lambda: text.encode() + b"# \xe9t\xe9",
        lambda: text + "\n---\n" + text,
        lambda: "%YAML 1.1\n---\n" + text,
        lambda: "%YAML 9.9\n---\n" + text,
        lambda: "%TAG ! tag:x,2000:\n---\n" + text,
        lambda: "---\n" + text + "\n...\n",
        lambda: text + "\n...\nrubbish: [",
        lambda: text + f"\nl0: &l0 lol\n{LAUGHS}",
        lambda: f"l0: &l0 lol\n{LAUGHS}\n" + text.replace("[512]", "*l9").replace("[8]", "*l9"),
        lambda: text + "\na: &a [*a]",
        lambda: text + "\na: *nowhere",
        lambda: text + "\n? {a: 1}\n: 2",
        lambda: text + "\n? [a, b]\n: 2",
        lambda: text.replace("seed: 42", "seed: &s 42", 1) + "\nseed: *s",
        lambda: text.replace("seed: 42", "seed: !!int '42'", 1),
        lambda: text.replace('"seed": 42', '"seed": &s 42', 1).replace(": 3,", ": *s,", 1),
        lambda: text.replace('"audit":', '"audit": &x', 1) + "\ncompute: {<<: *x}",
        lambda: merged(text),
        lambda: "\n".join([*lines[:line], lines[line], *lines[line:]]),
        lambda: "\n".join([*lines[:line], "\t" + lines[line], *lines[line + 1 :]]),
        lambda: "\n".join([*lines[:line], " " + lines[line], *lines[line + 1 :]]),
        lambda: "\n".join([*lines[:line], lines[line].lstrip(), *lines[line + 1 :]]),
        lambda: "\n".join(
            [*lines[:line], lines[line] + rng.choice("'\"{[&*!%@`|>:-?,#"), *lines[line + 1 :]]
        ),
        lambda: insert(text, rng, rng.choice("'\"{}[]&*!%@`|>:-?,#\t\n\\~<=")),
        lambda: text[: rng.randrange(len(text))],
        lambda: text[rng.randrange(len(text)) :],
        lambda: "[" * 100_000,
        lambda: "{a: " * 5000,
        lambda: "- " * 3000 + "x",
        lambda: "? " * 3000 + "x",
        lambda: "a: " + "&a " * 50 + "x",
        lambda: "",
        lambda: "\n\n# nothing\n",
        lambda: "null",
        lambda: "[]",
        lambda: "just text",
        lambda: "!!python/object/apply:os.system ['true']",
        lambda: text + "\n" + "#" * 11_000_000,
        lambda: text + "\n" + "\n".join(f"k{n}: {n}" for n in range(20_000)),
        lambda: text.replace("cases", "cases\u0301", 1),
        lambda: text + '\n"seed": 43',
        lambda: text + "\n'seed' : 42",
        lambda: text + "\nseed: 42\nsize: 1\nnfiles: 2",
    )
    made = rng.choice(tricks)()
    return made if isinstance(made, bytes) else made.encode("utf-8", "surrogatepass")


def insert(text: str, rng: random.Random, sign: str) -> str:
    """The text with a sign somewhere."""
    place = rng.randrange(len(text) + 1)
    return text[:place] + sign + text[place:]


def merged(text: str) -> str:
    """A case that takes its keys from another by a merge key."""
    first = re.search(r'^"cases":\n  ("[^"]+"): ', text, re.MULTILINE)
    if not first:
        return "x: &x {a: 1}\ny: {<<: *x}\n" + text
    twin = '  "merged": {<<: *m, "dropout": 0.5}'
    return text[: first.end()] + "&m " + re.sub("\n", f"\n{twin}\n", text[first.end() :], count=1)


# --- one file -----------------------------------------------------------------------------------


def make_file(number: int, seed: int) -> tuple[str, bytes]:
    """The kind of changes of a file, and its content; one in ten is of the default matrix."""
    rng = random.Random(f"{seed}-{number}")
    tree = load_raw_params()
    if number % 10:
        tree = small(tree)
    kind = ("structure", "types", "limits", "limits", "references", "yaml")[number % 6]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kinds = OF_TREES.get(kind)
        if kinds:
            rng.choice(kinds)(tree, rng)
    text = emit(tree) + "\n"
    return kind, trick(text, rng) if kind == "yaml" else text.encode("utf-8", "surrogatepass")


def small(tree: Tree) -> Tree:
    """Few phantoms, two cases of cnn3, and an external test of one."""
    elsewhere = {**tree["datasets"]["ct-b"], "size_px": 96}
    elsewhere["cohort"] = {**elsewhere["cohort"], "patients": {"covid": 8, "normal": 8}}
    tree = shrink(tree)
    tree["datasets"]["ct-b"] = elsewhere
    tree["views"]["b-full"] = {**tree["views"]["full"], "dataset": "ct-b"}
    classes = {"covid": "covid", "normal": "normal"}
    tree["external"] = {"elsewhere": {"case": "full-ce", "view": "b-full", "classes": classes}}
    return tree


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `_Hang` where the block takes longer; beyond three times that, end the process."""

    def ring(*_: object) -> None:
        raise _Hang

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(3 * seconds, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


def check_file(content: bytes) -> tuple[Outcome, Params | None]:
    """What `python -m stages.check` makes of a file, in this process and working folder."""
    Path("params.yaml").write_bytes(content)
    try:
        with within(LIMIT_S):
            params = load_params()
            check_params(params, Paths())
    except UserError as error:
        return judge(str(error)), None
    except _Hang:
        return Outcome("HANG", traceback.format_exc()), None
    except BaseException:  # whatever it is, it is what is looked for
        return Outcome("TRACEBACK", traceback.format_exc()), None
    return Outcome("accepted"), params


def judge(message: str) -> Outcome:
    """A refusal is one readable line per problem, each of which begins with the file."""
    lines = message.split("\n")
    wrong = [line for line in lines if not line.startswith("params.yaml: ")]
    wrong += [line for line in lines if len(line) > LONGEST_LINE or not line.isprintable()]
    if wrong or len(lines) > MOST_LINES or len(set(lines)) < len(lines):
        return Outcome("NO MESSAGE", "\n".join(lines[:20]))
    return Outcome("refused", message)


def fails_later(params: Params) -> str:
    """What DVC and the makers of things say against accepted parameters; nothing if all is well."""
    try:
        with within(LIMIT_S):
            with Repo() as repo:
                repo.index.check_graph()
                len(repo.index.stages)
            make_all(params)
    except DvcException as error:
        return f"DVC: {error}"
    except (_Hang, Exception):
        return traceback.format_exc()
    return ""


def make_all(params: Params) -> None:
    """Loss, optimiser, schedule and augmentation of every case, one step of each."""
    for case in params.cases.values():
        dataset = params.dataset(params.view(case.view).dataset)
        names = list(dataset.classes)
        outputs = Outputs.of_case(
            case.loss.kind, names, names.index(dataset.positive), dataset.implies
        )
        recipe = params.recipe(case.recipe)
        head = torch.nn.Linear(4, outputs.count)
        optimizer = build_optimizer(head, recipe, {})
        schedule = build_schedule(optimizer, recipe, steps=10)
        augment = Augmenter(params.augmentation(case.augment), torch.Generator().manual_seed(1))
        images = augment(torch.rand(2, 1, 32, 32))
        loss = build_loss(case.loss, outputs, [3] * len(names))
        value = loss(head(images.flatten(1)[:, :4]), torch.tensor([0, 1])).mean()
        value.backward()
        optimizer.step()
        schedule.step()
        if not torch.isfinite(value):
            raise ValueError(f"loss {value} of {case.loss}")


def is_cheap(params: Params) -> bool:
    """Whether all stages take seconds."""
    images = sum(
        sum(d.cohort.patients.values()) * d.cohort.images_per_patient
        for d in params.datasets.values()
        if d.cohort and d.is_phantom
    )
    runs = sum(
        len(p.seeds) * (p.folds if isinstance(p.folds, int) else 5) * params.recipe(c.recipe).epochs
        for c in params.cases.values()
        for p in [params.protocol(c.protocol)]
    )
    return (
        images <= 150
        and runs <= 12
        and {case.model for case in params.cases.values()} == {"cnn3"}
        and all(entry.source.kind == "random" for entry in params.weights.values())
        and all(view.size_px <= 100 for view in params.views.values())
        and all(dataset.size_px <= 200 for dataset in params.datasets.values())
        and all(sum(case.head) <= 1000 for case in params.cases.values())
        and params.evaluate.bootstrap_draws <= 2000
        and max(params.cam.road_images, params.cam.positive, params.cam.errors) <= 20
        and params.cam.lesion_images <= 40
    )


def run_stages() -> None:
    """Every stage on the params.yaml of the working folder, in the order of dvc.yaml."""
    params, paths = load_params(), Paths()
    check_params(params, paths)
    for name in params.datasets:
        prepare_dataset(params, name, paths)
    for name in params.views:
        crop_view(params, name, paths)
        audit_view(params, name, paths)
    for name in params.weights:
        make_weights(params, name, paths)
    waiting = dict(params.cases)
    while waiting:
        name = next(n for n, case in waiting.items() if case.weights not in waiting)
        del waiting[name]
        train_case(params, name, paths)
        evaluate_case(params, name, paths)
        explain_case(params, name, paths)
    for name in params.external:
        score_elsewhere(params, name, paths)
    compare_all(params, paths)
    report_all(params, paths)


# --- all of them --------------------------------------------------------------------------------


def furnish(folder: Path) -> None:
    """What parameters name: a folder and an archive of pictures, files that are no weights, DVC."""
    rng = np.random.default_rng(0)
    rows = ["file,label,fold,age"]
    for label in ("covid", "normal"):
        for number in range(24):
            path = folder / "pictures" / label / f"p{number:02d}_1.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (96, 96), dtype=np.uint8)).save(path)
            rows.append(f"{label}/{path.name},{label},{number % 3},50")
    (folder / "pictures" / "m.csv").write_text("\n".join(rows) + "\n")
    shutil.make_archive(str(folder / "pictures"), "zip", folder / "pictures")
    (folder / "text.pth").write_text("no weights")
    (folder / "folder.pth").mkdir()
    for name in ("stages", "dvc.yaml"):
        (folder / name).symlink_to(REPOSITORY / name)
    Repo.init(str(folder), no_scm=True).close()


def in_process_of_its_own(code: list[str], limit: int) -> Outcome:
    """What a command says: refused in lines, accepted, a traceback or a hang."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    try:
        done = subprocess.run(
            [sys.executable, *code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome("HANG", f"{code} took more than {limit} s")
    if done.returncode == 0:
        return Outcome("accepted")
    if done.stderr.startswith("error: ") and "Traceback" not in done.stderr:
        return judge(done.stderr.removeprefix("error: ").rstrip("\n"))
    return Outcome("TRACEBACK", done.stderr[-6000:])


def try_files(given: argparse.Namespace) -> Counter[tuple[str, str]]:
    """Counts of kind of change and outcome; files with a fault are kept."""
    counts: Counter[tuple[str, str]] = Counter()
    alone, stages = given.alone, given.stages
    for number in range(given.first, given.first + given.count):
        kind, content = make_file(number, given.seed)
        shutil.rmtree("data", ignore_errors=True)
        outcome, params = check_file(content)
        if params and (said := fails_later(params)):
            outcome = Outcome("FAILS LATER", said)
        if params and outcome.kind == "accepted" and stages and is_cheap(params):
            stages -= 1
            ran = in_process_of_its_own(["-m", "tests.faults.parameters", "--run"], STAGES_LIMIT_S)
            counts["all stages", ran.kind] += 1
            if ran.kind != "accepted":
                outcome = Outcome("FAILS LATER", ran.detail)
        if alone and number % max(1, given.count // given.alone) == 0:
            alone -= 1
            ran = in_process_of_its_own(["-m", "stages.check"], 3 * LIMIT_S)
            counts["python -m stages.check", ran.kind] += 1
            if outcome.kind in ("accepted", "refused") and ran != outcome:
                outcome = Outcome("OTHERWISE ALONE", f"{ran}\n{outcome}")
        counts[kind, outcome.kind] += 1
        note(given.keep, number, kind, content, outcome)
    return counts


def note(keep: Path, number: int, kind: str, content: bytes, outcome: Outcome) -> None:
    """Keep a file with a fault, and the message of each that is refused."""
    keep.mkdir(parents=True, exist_ok=True)
    with (keep / "outcomes.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps([number, kind, *outcome]) + "\n")
    if outcome.kind.isupper():
        (keep / f"{number}.yaml").write_bytes(content)
        print(f"{number} ({kind}): {outcome.kind}: {outcome.detail[-700:]}", flush=True)


def main() -> None:
    """Print what became of the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", type=int, default=8, help="through python -m stages.check")
    parser.add_argument("--stages", type=int, default=5, help="accepted ones through all stages")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "parameters")
    parser.add_argument("--run", action="store_true", help="all stages, in the working folder")
    given = parser.parse_args()
    given.keep = given.keep.absolute()
    logging.disable(logging.WARNING)
    if given.run:
        try:
            run_stages()
        except UserError as error:
            sys.exit(f"error: {error}")
        return
    with tempfile.TemporaryDirectory() as folder:
        furnish(Path(folder))
        os.chdir(folder)
        counts = try_files(given)
        os.chdir("/")
    for (kind, outcome), count in sorted(counts.items()):
        print(f"{kind}: {outcome} {count}")
    sys.exit(any(outcome.isupper() for _, outcome in counts))


if __name__ == "__main__":
    main()
