"""Pictures of one data set that another has too: the same file, or one that looks the same."""

from pathlib import Path
from typing import NamedTuple, Self

import pandas as pd

from stages.dataset.image_set import FINGERPRINTS, load_dataset_info, load_manifest
from stages.imaging.duplicates import find_shared, name_pictures
from stages.imaging.fingerprint import FLIPS, open_fingerprints

COLUMNS = ("image_id", "file", "own_image_id", "own_file", "kind", "change", "distance")


class KnownPictures(NamedTuple):
    """The pictures of a data set.

    Attributes:
        dataset: its name.
        manifest: (N,) rows with image_id, source_path and sha256.
        fingerprints: file of N records of `FINGERPRINT`; None where near-duplicates are not
            looked for.
    """

    dataset: str
    manifest: pd.DataFrame
    fingerprints: Path | None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Of a view, or of what a case says."""
        path = folder / FINGERPRINTS
        return cls(
            load_dataset_info(folder).dataset,
            load_manifest(folder),
            path if path.exists() else None,
        )


def find_shared_pictures(own: KnownPictures, there: KnownPictures, scratch: Path) -> pd.DataFrame:
    """The pictures that both have, a row of `COLUMNS` per picture there, in its order.

    Of several own pictures each is listed with one: of equal bytes, else the one most alike.

    Args:
        own: of the one data set.
        there: of the other, or some rows of it with their numbers as index. Where one of both has
            no fingerprints, equal files alone are found.
        scratch: folder for tables of some 4 kB per own image; the caller's to remove.
    """
    first = own.manifest.assign(name=name_pictures(own.manifest))
    first = first.drop_duplicates("name").set_index("name")
    names = pd.Series(name_pictures(there.manifest), index=there.manifest.index)
    same = names.isin(first.index)
    equal = names[same]
    found = [
        pd.DataFrame(
            {
                "there": equal.index,
                "own_image_id": first["image_id"].reindex(equal).to_numpy(),
                "own_file": first["source_path"].reindex(equal).to_numpy(),
                "kind": "bytes",
                "change": FLIPS[0],
                "distance": 0.0,
            }
        ),
        _find_alike(own, there._replace(manifest=there.manifest[~same]), scratch),
    ]
    table = pd.concat([part for part in found if len(part)] or found, ignore_index=True)
    files = there.manifest.loc[table["there"], ["image_id", "source_path"]]
    table = table.assign(image_id=files["image_id"].tolist(), file=files["source_path"].tolist())
    return table.sort_values("there", ignore_index=True)[list(COLUMNS)]


def _find_alike(own: KnownPictures, there: KnownPictures, scratch: Path) -> pd.DataFrame:
    """Those of some rows there that look like an own picture; their index is the row's number."""
    pairs = []
    if own.fingerprints and there.fingerprints:
        asked = open_fingerprints(there.fingerprints)[there.manifest.index.to_numpy()]
        pairs = find_shared(open_fingerprints(own.fingerprints), asked, scratch=scratch)
    best = {pair.second: pair for pair in sorted(pairs, key=lambda pair: -pair.distance)}
    rows = own.manifest.iloc[[pair.first for pair in best.values()]]
    return pd.DataFrame(
        {
            "there": there.manifest.index[list(best)],
            "own_image_id": rows["image_id"].to_numpy(),
            "own_file": rows["source_path"].to_numpy(),
            "kind": "near",
            "change": [pair.change for pair in best.values()],
            "distance": [round(pair.distance, 4) for pair in best.values()],
        }
    )
