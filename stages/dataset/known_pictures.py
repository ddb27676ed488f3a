"""The pictures that a case was trained, validated and tested on, kept beside what it says of them.

So an external test can tell which of its pictures the case knows, without the data set itself:

manifest.csv      of the view
fingerprints.bin  row by row alike; where near-duplicates are looked for in the data set
"""

from pathlib import Path

from stages.config.writing import link_or_copy
from stages.dataset.image_set import FINGERPRINTS, MANIFEST


def hand_on_pictures(view: Path, folder: Path) -> None:
    """Put what tells the pictures of a view into the folder of a case's predictions."""
    link_or_copy(view / MANIFEST, folder / MANIFEST)
    if (view / FINGERPRINTS).exists():
        link_or_copy(view / FINGERPRINTS, folder / FINGERPRINTS)
    else:  # an earlier run may have left some
        (folder / FINGERPRINTS).unlink(missing_ok=True)
