"""Which cases have results: after `dvc repro --keep-going`, all but those of a stage that failed.

DVC does not run what depends on a stage that failed. `compare` and `report` depend on all cases, so
they are then run by hand, and go on with the cases that are there.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from stages.config.errors import UserError
from stages.config.params import Params

logger = logging.getLogger(__name__)


def first_missing(files: Iterable[Path]) -> Path | None:
    """The first of these files that is not there."""
    return next((file for file in files if not file.exists()), None)


def leave_out(params: Params, lacking: Mapping[str, Path | None]) -> Params:
    """The parameters without the cases that lack a file, and what is said of these elsewhere.

    Args:
        params: the parameters, given back as they are where nothing is lacking.
        lacking: for each case a file without which, or without whose line on it, it has no
            results; None for a case that has them. Those left out are logged.

    Raises:
        UserError: no case has results.
    """
    cases = {name: file for name, file in lacking.items() if file is not None}
    if not cases:
        return params
    for name, file in cases.items():
        logger.warning("%s is left out: it has no results in %s", name, file)
    if len(cases) == len(params.cases):
        raise UserError(
            f"no case has results; the first, {next(iter(cases))}, has none in "
            f"{next(iter(cases.values()))}; run: dvc repro --keep-going"
        )
    return params.model_copy(
        update={
            "cases": {n: case for n, case in params.cases.items() if n not in cases},
            "comparisons": {
                name: pair
                for name, pair in params.comparisons.items()
                if not cases.keys() & set(pair)
            },
            "searches": {
                name: search
                for name, search in params.searches.items()
                if not cases.keys() & set(search.cases)
            },
            "external": {n: e for n, e in params.external.items() if e.case not in cases},
        }
    )
