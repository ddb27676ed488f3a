"""A proposal as lines of params.yaml: the entry, a view, a first case; checked, then written.

Nothing is written that `check` would refuse: the new file is read as every stage reads it, and the
check's own look at images and networks is taken at what was added.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from stages.adoption.drafts import listing_quietly
from stages.adoption.first_case import FirstCase, first_cases
from stages.adoption.params_text import STEP, format_entry, write_entry
from stages.adoption.proposal import Proposal
from stages.checking.images import find_image_problems
from stages.checking.networks import find_network_problems
from stages.config.errors import UserError
from stages.config.load import load_params, refusal
from stages.config.params import Case, Dataset, Params, RemoteFile, View
from stages.config.paths import Paths
from stages.config.references import find_reference_problems
from stages.config.writing import replacing

NO_EXAMPLE = (
    "cases: none of params.yaml is an example to make a first one after (weights of `weights`, "
    "folds 1, one seed, not optimistic, a loss for these classes); add a case by hand"
)

MODELS: dict[str, TypeAdapter[Any]] = {
    "downloads": TypeAdapter(dict[str, RemoteFile]),
    "datasets": TypeAdapter(Dataset),
    "views": TypeAdapter(View),
    "cases": TypeAdapter(Case),
}
OF_THE_CASE = ("recipes.", "protocols.")  # how a line of the check begins


class Added(NamedTuple):
    """An entry of a section."""

    section: str
    name: str
    entry: Mapping[str, Any]
    comments: Mapping[str, str]
    in_one_line: bool


class Addition(NamedTuple):
    """What is added to params.yaml, and the parameters that this gives.

    Attributes:
        entries: in the order of the file.
        params: with these entries.
        problem: what the check has against them, in lines, or None.
        example: the case after which the first one is made, or None.
    """

    entries: list[Added]
    params: Params | None
    problem: str | None
    example: str | None


def plan_addition(params: Params | None, proposal: Proposal, paths: Paths) -> Addition:
    """Choose view and first case such that the check has nothing against them.

    Args:
        params: of this repository, or None where there are none.
        proposal: of a source; one with a problem is not checked.
        paths: of the repository.
    """
    own = [
        *(_download(name, entry) for name, entry in _new_downloads(params, proposal.downloads)),
        Added("datasets", proposal.name, proposal.entry, proposal.comments, False),
    ]
    if params is None or proposal.problem:
        return Addition(own, None, proposal.problem, None)
    plan = Addition(own, None, NO_EXAMPLE, None)
    for number, first in enumerate(first_cases(params, proposal.name, proposal.entry)):
        found = _checked(params, own, first, paths)
        if number == 0 or found.problem is None:
            plan = found
        if not (found.problem or "").startswith(OF_THE_CASE):
            break  # nothing is wrong, or nothing that another case would mend
    return plan


def plan_download(params: Params, name: str, entry: Mapping[str, Any]) -> Addition:
    """An entry of `downloads` alone, for a source at which nobody has looked yet.

    Raises:
        UserError: the name is taken by another one.
    """
    entries = [_download(*new) for new in _new_downloads(params, {name: entry})]
    extended = _extended(params, entries)
    return Addition(entries, extended, "; ".join(find_reference_problems(extended)) or None, None)


def require_free(params: Params, name: str) -> None:
    """Refuse a name that a data set has.

    Raises:
        UserError: it is taken.
    """
    if name in params.datasets:
        raise UserError(
            f"params.yaml: datasets.{name}: is there already; give another name behind the folder, "
            "or take that entry out first"
        )


def format_addition(addition: Addition) -> str:
    """The entries as a fragment of params.yaml, below the sections to which they belong."""
    blocks = []
    for added in addition.entries:
        block = format_entry(
            added.name, added.entry, added.comments, indent=STEP, in_one_line=added.in_one_line
        )
        blocks.append(f"{added.section}:\n{block}")
    return "".join(blocks)


def write_addition(addition: Addition, path: Path) -> None:
    """Add the entries to the file, if they can be used.

    Raises:
        UserError: the check has something against them, or the file cannot take them; it is then
            left as it was.
    """
    if addition.problem or addition.params is None:
        raise UserError(f"nothing is written: {addition.problem}")
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    for added in addition.entries:
        text = write_entry(
            text,
            added.section,
            added.name,
            added.entry,
            added.comments,
            in_one_line=added.in_one_line,
        )
    problems = [*find_network_problems(_alone(addition.params, addition))]
    if problems:
        raise refusal(problems)
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
        if load_params(partial) != addition.params:
            raise UserError(f"{path}: the text would not say what was checked; nothing is written")


def _download(name: str, entry: Mapping[str, Any]) -> Added:
    return Added("downloads", name, entry, {}, False)


def _new_downloads(
    params: Params | None, wanted: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Those that params.yaml does not have yet.

    Raises:
        UserError: it has another one of the same name.
    """
    there = {} if params is None else params.downloads
    for name, entry in wanted.items():
        if name not in there:
            yield name, entry
        elif there[name] != MODELS["downloads"].validate_python(entry):
            raise UserError(
                f"params.yaml: downloads.{name}: is there already, and another; take it out first"
            )


def _extended(params: Params, entries: Sequence[Added]) -> Params:
    sections: dict[str, dict[str, Any]] = {}
    for added in entries:
        section = sections.setdefault(added.section, dict(getattr(params, added.section)))
        section[added.name] = MODELS[added.section].validate_python(added.entry)
    return params.model_copy(update=sections)


def _checked(params: Params, own: Sequence[Added], first: FirstCase, paths: Paths) -> Addition:
    """What a first case gives, and what the check says of it."""
    entries = [
        *own,
        Added("views", first.view_name, first.view, {}, True),
        Added("cases", first.case_name, first.case, {}, True),
    ]
    extended = _extended(params, entries)
    plan = Addition(entries, extended, None, first.example)
    problems = find_reference_problems(extended)
    if not problems:
        with listing_quietly():
            problems = list(find_image_problems(_alone(extended, plan), paths))
    return plan._replace(problem="; ".join(problems) or None)


def _alone(params: Params, addition: Addition) -> Params:
    """The parameters with what is added and no other data set, view or case."""
    kept: dict[str, dict[str, Any]] = {section: {} for section in ("datasets", "views", "cases")}
    for added in addition.entries:
        entries = getattr(params, added.section)
        kept.setdefault(added.section, {})[added.name] = entries[added.name]
    return params.model_copy(update={**kept, "comparisons": {}, "external": {}})
