"""What the names of folders and files say, in whatever spelling they come."""

import re
import unicodedata
from collections.abc import Iterable
from os.path import splitext
from typing import NamedTuple

from stages.config.errors import suggest

# Words that name a split.
SPLIT_OF_WORD = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# Words that may stand beside it in the name of a split folder: `train_set`, `Test Images`.
SPLIT_FILLERS = frozenset(
    "set sets data dataset split splits folder image images img imgs picture pictures files".split()
)
FOLD_WORDS = frozenset({"fold", "folds", "kfold"})
# Kinds of pictures and files about a picture that show no further patient, whatever their format.
KIND_WORDS = frozenset(
    "seg segs gt roi rois cams bbox bboxes contour contours outline outlines landmark landmarks "
    "keypoint keypoints boxes saliency thumb thumbs preview previews aug augmented".split()
)
# The same, also at the end of a longer word (`lungmasks`); in a file name they need no partner.
PLAIN_KINDS = (
    *("mask", "masks", "segmentation", "segmentations", "annotation", "annotations"),
    *("overlay", "overlays", "heatmap", "heatmaps", "gradcam", "gradcams", "groundtruth"),
    *("thumbnail", "thumbnails", "augmentation", "augmentations", "label", "labels"),
)
PICTURE_ENDINGS = frozenset(
    ".bmp .gif .jpeg .jpg .jpe .jfif .jp2 .j2k .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
PACKED_VOLUME = ".nii.gz"
# A run of letters, also of those that a capital divides, or a run of digits.
PIECE = re.compile(r"[A-Z]?[a-z]+(?=[A-Z])|[^\W\d_]+|\d+")


def composed(name: str) -> str:
    """The name in Unicode's form NFC, in which names are compared; macOS writes another one."""
    return unicodedata.normalize("NFC", name)


def words(name: str) -> list[str]:
    """The runs of letters, in lower case; `LungMasks_2` has lung and masks."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", composed(name))
    return re.findall(r"[^\W\d_]+", apart.lower())


def split_ending(name: str) -> tuple[str, str]:
    """A name or path without its ending, and that; packed volumes have one of two parts."""
    if name.lower().endswith(PACKED_VOLUME):
        return name[: -len(PACKED_VOLUME)], name[-len(PACKED_VOLUME) :]
    return splitext(name)


def stem_of(file_name: str) -> str:
    """A file's name without its ending; a number behind a dot, as DICOM has it, is none."""
    if file_name.lower().endswith(PACKED_VOLUME):
        return split_ending(file_name)[0]
    stem, _, ending = file_name.rpartition(".")
    return file_name if not stem or ending.isdigit() else stem


def has_digit(name: str) -> bool:
    """Whether it may be a number of a patient or study; other names are words."""
    return any(character.isdigit() for character in name)


def split_of(name: str) -> str | None:
    """The split that a folder's name stands for: `Train`, `test_images`, `valset`."""
    if has_digit(name):  # `test_001` is as likely a patient
        return None
    spelt = [word for word in words(name) if word not in SPLIT_FILLERS]
    if len(spelt) != 1:
        return None
    for filler in ("", "set", "data", "images"):
        split = SPLIT_OF_WORD.get(spelt[0].removesuffix(filler))
        if split:
            return split
    return None


def hints_at_split(name: str) -> str | None:
    """The split, or `fold`, of which a name has the word among others: `covid_train`, `fold 3`."""
    for word in words(name):
        if word in FOLD_WORDS:
            return "fold"
        if word in SPLIT_OF_WORD:
            return SPLIT_OF_WORD[word]
    return None


def is_kind(name: str) -> bool:
    """Whether a folder's name says that it holds masks, overlays, labels or the like."""
    spelt = words(name)
    together = "".join(spelt)
    return (
        any(word in KIND_WORDS for word in spelt)
        or together.endswith(PLAIN_KINDS)
        or any(word.endswith(PLAIN_KINDS) for word in spelt)
    )


def shown(name: str) -> str:
    """A name for a message, quoted; with code points where letters may look like others."""
    return repr(name) if name.isascii() else f"{name!r} ({name!a})"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'COVID'?)` for names that differ in case, blanks or a few letters."""
    known = list(known)
    for other in known:
        if _bare(other) == _bare(name):
            return f" (did you mean {other!r}? {shown(name)} differs in case, blanks or signs)"
    hint = suggest(name, known)
    return hint if name.isascii() or not hint else f"{hint[:-1]} The folder is {name!a})"


def _bare(name: str) -> str:
    """Letters and digits alone, in one case and form."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in folded if character.isalnum())


class FileKind(NamedTuple):
    """The word in a file's name that says that it is a mask or the like.

    Attributes:
        rest: the other words and numbers of the name, which its picture may be called.
        pattern: matches all such files.
        is_plain: whether the word needs no picture of that name to be believed.
    """

    rest: tuple[str, ...]
    pattern: str
    is_plain: bool


def pieces(name: str) -> list[str]:
    """The runs of letters and of digits of a name, in lower case."""
    return [piece.lower() for piece in PIECE.findall(composed(name))]


def kind_in_file_name(stem: str) -> FileKind | None:
    """What the first or last word of a file's name, without ending, says."""
    stem = composed(stem)
    found = [match for match in PIECE.finditer(stem) if not match[0].isdigit()]
    for match in (found[-1:] + found[:1]) if found else ():
        word = match[0].lower()
        is_plain = word.endswith(PLAIN_KINDS)
        if not is_plain and word not in KIND_WORDS:
            continue
        before, behind = stem[: match.start()], stem[match.end() :]
        pattern = f"{'*' if before else ''}{_sign(before[-1:])}{match[0]}"
        pattern += f"{_sign(behind[:1])}*" if behind else ".*"
        rest = (*pieces(before), *pieces(behind))
        return FileKind(rest, pattern, is_plain and not word.endswith(("label", "labels")))
    return None


def _sign(character: str) -> str:
    """A sign between words as it stands in a pattern."""
    return character if character in ("_", "-", ".", " ") else ""
