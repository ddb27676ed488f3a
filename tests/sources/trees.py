"""Folders of class folders, made of names."""

from pathlib import Path

from stages.sources.folder import FolderListing, folder_items

CLASSES = {"covid": ["COVID", "Covid-19"], "normal": ["Normal"]}


def put(root: Path, *names: str) -> Path:
    """Make files that hold their own name."""
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return root


def listed(root: Path, *ignore: str) -> FolderListing:
    return folder_items(root, classes=CLASSES, ignore=ignore)


def paths(root: Path, *ignore: str) -> list[str]:
    return [item.source_path for item in listed(root, *ignore).items]
