"""Look at a folder or archive of images and propose its entry of params.yaml, with reasons.

Reads:  the source, and params.yaml
Writes: with --write, params.yaml: the entry, a view and a first case, as added lines
"""

import argparse
import logging
import sys
from pathlib import Path

from stages.adoption.adding import format_addition, plan_addition, require_free, write_addition
from stages.adoption.proposal import Proposal, default_name, propose, require_name
from stages.config.command import command_parser, run_command
from stages.config.load import load_params
from stages.config.paths import Paths

logger = logging.getLogger(__name__)

PARAMS = Path("params.yaml")
NEXT = (
    "params.yaml has these entries now; read them (`git diff params.yaml`), fill in provenance and "
    "licence, then: dvc repro"
)


def adopt(arguments: argparse.Namespace) -> int:
    """Print the entry; with --write add it to params.yaml. 1 where it cannot be used as it is."""
    paths = Paths()
    name = arguments.name or default_name(arguments.source)
    require_name(name)
    params = load_params(PARAMS)
    require_free(params, name)
    proposal = propose(arguments.source, name, scratch=paths.scratch("adopt"))
    addition = plan_addition(params, proposal, paths)
    _say(proposal)
    if addition.example:
        logger.info("first case: made after %s", addition.example)
    sys.stdout.write(format_addition(addition))
    sys.stdout.flush()
    if arguments.write:
        write_addition(addition, PARAMS)
        logger.info(NEXT)
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


def _main() -> None:
    parser = command_parser("adopt", __doc__)
    parser.add_argument("source", type=Path, help="a folder of images, or a .zip or .tar of one")
    parser.add_argument("name", nargs="?", help="of the entry; else made from the folder's name")
    parser.add_argument(
        "--write",
        action="store_true",
        help="add the entry, a view and a first case to params.yaml, if the check takes them",
    )
    run_command(adopt, parser)


if __name__ == "__main__":
    _main()
