"""The catalogue of public sets: their entries of params.yaml, and what to know before use."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stages.config.errors import UserError, suggest
from stages.config.yaml_file import read_yaml

CATALOGUE = Path(__file__).with_name("catalogue.yaml")


@dataclass(frozen=True)
class PublicSet:
    """One public set.

    Attributes:
        key: its name in the catalogue, and of its entry in `downloads`.
        title: what it is, in a line.
        sources: pages and repositories that its facts are from.
        seen: from what its layout is known, and when that was.
        download: its entry of `downloads` in params.yaml; empty where it has to be got by hand.
        by_hand: how; "" where it is downloaded.
        dataset: its entry of `datasets` in params.yaml, with every key.
        expected: images per class, as published.
        citation: of its paper.
        traps: what is known to be wrong with it, a sentence each.
    """

    key: str
    title: str
    sources: list[str]
    seen: str
    download: dict[str, dict[str, Any]]
    by_hand: str
    dataset: dict[str, Any]
    expected: dict[str, int]
    citation: str
    traps: list[str]

    @property
    def licence(self) -> str:
        """Under which it may be used, as far as that is known."""
        return str(self.dataset["licence"])


def list_sets() -> list[PublicSet]:
    """All sets, in the order of the catalogue."""
    return list(_sets().values())


def find_set(name: str) -> PublicSet:
    """The set of a name.

    Raises:
        UserError: there is none; the message lists all.
    """
    sets = _sets()
    if name not in sets:
        raise UserError(
            f"catalogue: no set {name!r}{suggest(name, list(sets))}; there are: {', '.join(sets)}"
        )
    return sets[name]


def describe_set(public: PublicSet) -> list[str]:
    """What it is, where from and under which licence, a line each; its traps are `traps`."""
    counts = ", ".join(f"{name} {count:,}" for name, count in public.expected.items())
    return [
        public.title,
        f"From: {', '.join(public.sources)}",
        f"Layout seen: {public.seen}",
        *([f"By hand: {public.by_hand}"] if public.by_hand else []),
        f"Images: {counts}",
        f"Licence: {public.licence}",
        f"Cite: {public.citation}",
    ]


@cache
def _sets() -> dict[str, PublicSet]:
    raw: Any = read_yaml(CATALOGUE)
    return {key: _public_set(key, facts, raw["usual"]) for key, facts in raw["sets"].items()}


def _public_set(key: str, facts: dict[str, Any], usual: dict[str, Any]) -> PublicSet:
    own = facts["dataset"]
    given = {"download": {}, "by_hand": ""} | facts
    return PublicSet(key=key, **given | {"dataset": _in_order(usual | own)})


def _in_order(entry: dict[str, Any]) -> dict[str, Any]:
    """As the schema has the keys, so that all entries of params.yaml look alike."""
    from stages.config.params import Dataset  # 0.2 s

    return {key: entry[key] for key in Dataset.model_fields if key in entry}
