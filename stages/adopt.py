"""Look at a source of images and propose its entry of params.yaml, with reasons.

A source is a folder, an archive, a set of the catalogue, or an address.

Reads:  the source, and params.yaml
Writes: with --write, params.yaml: the entry, a view and a first case, as added lines
"""

import argparse
import logging
import sys
from pathlib import Path

from stages.adoption.adding import (
    Addition,
    format_addition,
    plan_addition,
    plan_download,
    require_free,
    write_addition,
)
from stages.adoption.elsewhere import (
    CATALOGUE,
    format_sets,
    is_address,
    is_of_catalogue,
    name_of_address,
    propose_download,
    propose_set,
)
from stages.adoption.proposal import Proposal, default_name, propose, require_name
from stages.config.command import command_parser, run_command
from stages.config.load import load_params
from stages.config.params import Params
from stages.config.paths import Paths

logger = logging.getLogger(__name__)

PARAMS = Path("params.yaml")
NEXT = (
    "params.yaml has these entries now; read them (`git diff params.yaml`), fill in provenance and "
    "licence, then: dvc repro"
)

FETCH_FIRST = (
    "then: dvc repro fetch@{name}, and to look at what has come: "
    "python -m stages.adopt data/downloads/{name}"
)


def adopt(arguments: argparse.Namespace) -> int:
    """Print the entry; with --write add it to params.yaml. 1 where it cannot be used as it is."""
    source = arguments.source
    if source == CATALOGUE:
        sys.stdout.write(format_sets())
        return 0
    params = load_params(PARAMS)
    if is_address(source) and not is_of_catalogue(source):
        return _adopt_address(params, source, arguments)
    proposal = _propose(source, arguments.name)
    require_free(params, proposal.name)
    addition = plan_addition(params, proposal, Paths())
    _say(proposal)
    if addition.example:
        logger.info("first case: made after %s", addition.example)
    return _finish(addition, NEXT, write=arguments.write)


def _propose(source: str, name: str | None) -> Proposal:
    if is_of_catalogue(source):
        proposal = propose_set(source, name)
        require_name(proposal.name)
        return proposal
    name = name or default_name(Path(source))
    require_name(name)
    return propose(Path(source), name, scratch=Paths().scratch("adopt"))


def _adopt_address(params: Params, source: str, arguments: argparse.Namespace) -> int:
    """Nothing is known of what is there: have it fetched, then look."""
    entry = propose_download(source)
    name = arguments.name or name_of_address(source)
    require_name(name)
    addition = plan_download(params, name, entry)
    return _finish(addition, FETCH_FIRST.format(name=name), write=arguments.write)


def _finish(addition: Addition, next_step: str, *, write: bool) -> int:
    sys.stdout.write(format_addition(addition))
    sys.stdout.flush()
    if write:
        write_addition(addition, PARAMS)
        logger.info(next_step)
    elif addition.problem:
        logger.error("cannot be used as it is: %s", addition.problem)
    return 1 if addition.problem else 0


def _say(proposal: Proposal) -> None:
    """Reasons, then what to look out for, then what is not known."""
    for title, lines in (
        ("Found", proposal.reasons),
        ("Look out", proposal.traps),
        ("Not known", proposal.unknown),
    ):
        if lines:
            logger.info("%s:", title)
        for line in lines:
            logger.info("  - %s", line)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("adopt", __doc__)
    parser.add_argument(
        "source",
        help="a folder of images, or a .zip or .tar of one; catalogue:<name> (catalogue: lists "
        "them); https://..., kaggle:owner/slug or gdrive:<id>",
    )
    parser.add_argument("name", nargs="?", help="of the entry; else made from the folder's name")
    parser.add_argument(
        "--write",
        action="store_true",
        help="add the entry, a view and a first case to params.yaml, if the check takes them",
    )
    return parser


if __name__ == "__main__":
    run_command(adopt, _parser())
