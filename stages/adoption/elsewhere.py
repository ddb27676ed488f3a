"""Sources that are not here: a set of the catalogue, or an address that `fetch` is to ask."""

import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from stages.adoption.catalogue import describe_set, find_set, list_sets
from stages.adoption.proposal import Proposal, default_name
from stages.config.errors import UserError
from stages.config.params import ADDRESS_PATTERN

CATALOGUE = "catalogue:"
# What stands before a colon, as in https: and kaggle:; C: is a drive.
SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)


def is_of_catalogue(source: str) -> bool:
    """Whether a source is `catalogue:<name>`; without a name all sets are meant."""
    return source.startswith(CATALOGUE)


def is_address(source: str) -> bool:
    """Whether a source is meant as an address, right or wrong; a path that is there never is."""
    return bool(SCHEME.match(source)) and not Path(source).exists()


def format_sets() -> str:
    """A line for each set of the catalogue: its name and what it is."""
    return "".join(f"{CATALOGUE}{public.key:16} {public.title}\n" for public in list_sets())


def propose_set(source: str, name: str | None) -> Proposal:
    """The entry that the catalogue has.

    Args:
        source: `catalogue:<name of the set>`.
        name: of the entry; None: that of the set.

    Raises:
        UserError: the catalogue has no such set.
    """
    public = find_set(source.removeprefix(CATALOGUE))
    return Proposal(
        name=name or public.key,
        entry=public.dataset,
        comments={},
        reasons=describe_set(public),
        unknown=["whether address and layout are still the same: nothing was downloaded"],
        traps=public.traps,
        problem=None,
        downloads={public.key: public.download} if public.download else {},
    )


def propose_download(address: str) -> dict[str, Any]:
    """The entry of `downloads` for an address; archives become folders.

    Raises:
        UserError: it is none that can be asked.
    """
    if not re.match(ADDRESS_PATTERN, address):
        raise UserError(
            f"{address}: is no address that can be asked; allowed: https://…, kaggle:owner/slug, "
            f"gdrive:<id>, {CATALOGUE}<name>, or the path of a folder or an archive"
        )
    entry = {"address": address, "file": None, "sha256": None, "unpack": _is_single_file(address)}
    return {"images": entry}


def name_of_address(address: str) -> str:
    """What the entry of an address may be called: as its file, or as Kaggle's set."""
    if address.startswith("gdrive:"):
        return "images"  # an id tells nothing
    path = PurePosixPath(unquote(urlsplit(address).path.partition("/versions/")[0]))
    return default_name(Path(path.name))


def _is_single_file(address: str) -> bool:
    return not address.startswith("kaggle:")  # of which a folder comes
