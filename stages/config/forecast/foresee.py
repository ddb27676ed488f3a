"""What a `dvc repro` that is at its first stage will run: a process of its own.

    python -m stages.config.forecast.foresee <what stands behind `dvc`>

Prints JSON, a `Forecast`; null where these words ask for something else than to run stages here.
"""

import json
import sys
from argparse import Namespace
from pathlib import Path

from stages.config.forecast.estimates import read_known
from stages.config.forecast.plan import read_plan_beside
from stages.config.paths import Paths

# Options by which other stages run than those that changed, or elsewhere; none is foreseen.
OTHERWISE = (
    *("dry", "pipeline", "recursive", "force_downstream", "pull", "allow_missing"),
    *("queue", "run_all", "tmp_dir"),
)


def foresee(arguments: list[str], paths: Paths) -> dict[str, object] | None:
    """Stages that may have to run, in order, each with its seconds; and how many there are."""
    asked = _parse(arguments)
    if asked is None:
        return None
    plan = read_plan_beside(asked, paths.root)
    known = read_known(paths, cores=1)
    return {
        "n_stages": len(plan.order),
        "seconds": {name: known[name].seconds if name in known else None for name in plan.needs},
    }


def _parse(arguments: list[str]) -> Namespace | None:
    from dvc.cli.parser import get_main_parser
    from dvc.commands.experiments.run import CmdExperimentsRun
    from dvc.commands.repro import CmdRepro

    asked = get_main_parser().parse_args(arguments)
    if not issubclass(asked.func, CmdRepro | CmdExperimentsRun):
        return None
    return None if any(getattr(asked, option, False) for option in OTHERWISE) else asked


if __name__ == "__main__":
    print(json.dumps(foresee(sys.argv[1:], Paths(Path()))))
