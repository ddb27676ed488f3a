"""What in a source makes figures that are too good, or a run that stops: counted, with examples."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stages.adoption.sampling import Sampled
from stages.config.progress import progress
from stages.sources.item import SourceItem
from stages.sources.tree import LeftOut

HEAD_BYTES = 4096
SHOWN = 3


def find_same_files(items: Sequence[SourceItem], root: Path) -> list[str]:
    """Files that are equal to the byte and of two classes, or of two given splits.

    Only files of one size are read, and whole ones only where their beginnings are equal.
    """
    of_size: dict[int, list[SourceItem]] = defaultdict(list)
    for item in items:
        try:
            of_size[(root / item.source_path).stat().st_size].append(item)
        except OSError:
            continue  # a link to nothing, which is counted as unreadable elsewhere
    alike = [group for size, group in of_size.items() if size and _differ(group)]
    total = sum(map(len, alike))
    members = (item for group in alike for item in group)
    heads: dict[bytes, list[SourceItem]] = defaultdict(list)
    for item in progress(members, "comparing files", total):
        heads[_digest(root / item.source_path, HEAD_BYTES)].append(item)
    same: dict[bytes, list[SourceItem]] = defaultdict(list)
    for group in heads.values():
        for item in group if _differ(group) else ():
            same[_digest(root / item.source_path, None)].append(item)
    return list(_say_same([group for group in same.values() if len(group) > 1]))


def _differ(group: Sequence[SourceItem]) -> bool:
    """Whether files are of more than one class or split."""
    return len({(item.label, item.split) for item in group}) > 1


def _digest(file: Path, length: int | None) -> bytes:
    """Of a file, or of its beginning and size; of one that cannot be read, of its name."""
    try:
        with file.open("rb") as stream:
            size = str(file.stat().st_size).encode()
            return hashlib.sha256(size + stream.read(-1 if length is None else length)).digest()
    except OSError:
        return hashlib.sha256(str(file).encode()).digest()


def _say_same(groups: Sequence[Sequence[SourceItem]]) -> Iterator[str]:
    for what, key in (("classes", "label"), ("given splits", "split")):
        found = [g for g in groups if len({getattr(item, key) for item in g}) > 1]
        if found:
            files = sum(map(len, found))
            example = " = ".join(repr(item.source_path) for item in found[0][:2])
            yield (
                f"{files:,} files are equal to the byte and lie in two {what}, such as {example}; "
                "they stay together in a split, and prepare lists them"
            )


def say_sizes(sampled: Sequence[Sampled]) -> list[str]:
    """Whether the size or format of a picture gives its class away."""
    of_label: Mapping[str, list[Sampled]] = defaultdict(list)
    for picture in sampled:
        if not picture.reason:
            of_label[picture.label].append(picture)
    lines = []
    for label, pictures in of_label.items():
        sizes = Counter((p.width, p.height) for p in pictures)
        (width, height), count = sizes.most_common(1)[0]
        others = [p for name, found in of_label.items() if name != label for p in found]
        elsewhere = sum((p.width, p.height) == (width, height) for p in others)
        if len(pictures) >= SHOWN and count == len(pictures) and 2 * elsewhere < len(others):
            lines.append(
                f"all {count} pictures of {label} looked at have {width} x {height} px, of the "
                f"others {elsewhere} of {len(others)}: the size alone tells the class (a shortcut)"
            )
    formats = {name: {p.format for p in found} for name, found in of_label.items()}
    if len(formats) > 1 and not set.intersection(*formats.values()):
        said = "; ".join(f"{name}: {', '.join(sorted(f))}" for name, f in formats.items())
        lines.append(f"file formats go with the class ({said}): where they came from may tell it")
    return lines


def say_unreadable(sampled: Sequence[Sampled], max_rejected: float) -> list[str]:
    """Files that give no picture, of those looked at, and whether the run will stop for them."""
    bad = [picture for picture in sampled if picture.reason]
    if not bad:
        return []
    examples = "; ".join(f"{p.path!r} ({p.reason})" for p in bad[:SHOWN])
    said = f"{len(bad)} of {len(sampled)} files looked at give no picture: {examples}"
    if len(bad) > max_rejected * len(sampled):
        said += (
            f"; where more than {max_rejected:g} of all files give none, prepare stops: take them "
            "out, or raise max_rejected"
        )
    return [said]


def say_hidden(hidden: Sequence[LeftOut]) -> list[str]:
    """Files that are left out whatever `ignore` says, by reason."""
    lines = []
    for reason in dict.fromkeys(out.reason for out in hidden):
        found = [out for out in hidden if out.reason == reason]
        examples = ", ".join(repr(out.path) for out in found[:SHOWN])
        count = sum(out.files for out in found)
        lines.append(f"{count:,} files are left out ({reason}), such as {examples}")
    return lines
