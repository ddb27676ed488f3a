"""Axial CT slice or frontal X-ray: a guess from pictures, and from words in names.

A picture counts as a CT slice where the CT method finds lungs that it believes and either the
middle of the picture is about as bright at its lower end as at its upper one (an X-ray has a
neck above and an abdomen below), or the lungs are as large and dark as air in a lung window.
Limits from public images (Soares et al. 2020; Ozturk et al. 2020): of CT slices 98 % count, of
X-rays 9 %.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.imaging.lungs import OK, find_content, segment_lungs, shrink
from stages.sources.names import words

Modality = Literal["ct", "xray"]

WORKING_PX = 64
MOST_STEP = 45  # grey levels from the upper to the lower end of the middle
LARGE_SHARE, DARK_RATIO = 0.3, 0.5  # lung of the picture; grey of lung to that of all else
SURE = 0.8  # share of the pictures that agree, from which the guess is called likely
UNSURE = 0.65
NAMES: dict[Modality, frozenset[str]] = {
    "ct": frozenset("ct cts hrct tomography tomographic slice slices".split()),
    "xray": frozenset("cxr xray xrays radiograph radiography radiographs".split()),
}


class Signs(NamedTuple):
    """What one picture shows.

    Attributes:
        ct_lungs: whether the CT method finds lungs that it believes.
        step: grey levels by which the middle is brighter at its lower end.
        lung_share: of the picture, by that method.
        lung_ratio: median grey of these lungs to that of all else; 1 without lungs.
    """

    ct_lungs: bool
    step: float
    lung_share: float
    lung_ratio: float

    @property
    def is_ct(self) -> bool:
        """Whether it counts as a CT slice."""
        is_level = self.step < MOST_STEP
        has_air = self.lung_share > LARGE_SHARE and self.lung_ratio < DARK_RATIO
        return self.ct_lungs and (is_level or has_air)


class ModalityGuess(NamedTuple):
    """A guess, how sure, and from what."""

    modality: Modality
    sureness: str
    reasons: list[str]


def find_signs(pixels: NDArray[np.uint8]) -> Signs:
    """Look at one picture, (H, W) grey."""
    lungs = segment_lungs(pixels, "ct")
    content = find_content(pixels)
    inside = pixels[content.rows, content.columns]
    if not inside.size:
        return Signs(False, 0.0, 0.0, 1.0)
    small = shrink(inside, WORKING_PX)
    height, width = small.shape
    end = max(1, height // 10)
    middle = slice(int(0.35 * width), max(int(0.65 * width), int(0.35 * width) + 1))
    step = float(small[-end:, middle].mean() - small[:end, middle].mean())
    mask = lungs.mask
    known = mask.any() and not mask.all()
    ratio = float(np.median(pixels[mask]) / max(1, np.median(pixels[~mask]))) if known else 1.0
    return Signs(lungs.quality == OK, step, float(mask.mean()), ratio)


def guess_modality(signs: Sequence[Signs], names: Iterable[str]) -> ModalityGuess:
    """Guess from pictures; where they disagree, or none could be read, from words in names.

    Args:
        signs: of some pictures.
        names: of the source, its folders and some files.
    """
    said = _of_names(names)
    hint = f"names speak of {_spoken(said)}" if said else "no name speaks of CT or X-ray"
    if not signs:
        return ModalityGuess(said or "xray", "unknown", ["no picture could be read", hint])
    count = sum(sign.is_ct for sign in signs)
    share = count / len(signs)
    modality: Modality = "ct" if share > 0.5 else "xray"
    agreeing = max(share, 1 - share)
    if agreeing < UNSURE and said:
        modality = said
    sureness = "likely" if agreeing >= SURE else "uncertain"
    if said and said != modality:
        sureness = "uncertain"
    step = float(np.median([sign.step for sign in signs]))
    reasons = [
        f"{count} of {len(signs)} pictures look like an axial slice: dark air on both sides inside "
        "a body, and no neck above an abdomen",
        f"the middle is {step:+.0f} grey levels brighter at the lower than at the upper end "
        "(CT slices are about even, X-rays some 60 to 80 brighter)",
        hint,
    ]
    return ModalityGuess(modality, sureness, reasons)


def _of_names(names: Iterable[str]) -> Modality | None:
    """The modality that words in names say, where they do not say both."""
    spelt = {word for name in names for word in words(name)}
    joined = {"xray" for name in names if "xray" in "".join(words(name))}
    found = [kind for kind, known in NAMES.items() if known & (spelt | joined)]
    return found[0] if len(found) == 1 else None


def _spoken(modality: Modality) -> str:
    return {"ct": "CT", "xray": "X-rays"}[modality]
