"""Say what a trained case makes of image files: class, probabilities, decision, warnings.

Reads:  data/weights/<case>/, data/predictions/<case>/dataset.json, metrics/reports/<case>.json
Writes: a row per picture, to standard output or to --output; overlays, to --overlay
"""

import argparse
from pathlib import Path

from stages.config.command import command_parser, run_command
from stages.config.errors import UserError
from stages.config.load import load_params
from stages.config.paths import Paths
from stages.deployment.case_files import require_trained
from stages.deployment.files import list_files
from stages.deployment.rows import FORMATS
from stages.evaluation.operating_points import OPERATING_POINTS

SOME_UNREADABLE = 3


def predict(arguments: argparse.Namespace) -> int:
    """Predict all files; 0 where each of them could be read."""
    params, paths = load_params(), Paths()
    _require_place(arguments.output, arguments.overlay)
    require_trained(arguments.case, params, paths)
    files = list_files(arguments.paths)
    if not files:
        raise UserError("there is no image in what was given; give image files, or folders of some")
    from stages.deployment.predicting import Wanted, predict_files  # torch: 2 s

    wanted = Wanted(
        arguments.case,
        arguments.operating_point,
        arguments.format,
        arguments.output,
        arguments.overlay,
    )
    unreadable = predict_files(files, wanted, params, paths)
    return SOME_UNREADABLE if unreadable else 0


def _require_place(output: Path | None, overlay: Path | None) -> None:
    """Refuse what cannot be written before anything is predicted."""
    if output is not None and output.is_dir():
        raise UserError(f"--output: got {str(output)!r}, a folder; name a file")
    if overlay is not None and overlay.exists() and not overlay.is_dir():
        raise UserError(f"--overlay: got {str(overlay)!r}, a file; name a folder")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("predict", __doc__)
    parser.epilog = (
        "Exit code: 0 all predicted, 1 an error that one line explains, 2 wrong arguments, "
        f"{SOME_UNREADABLE} some files could not be read."
    )
    parser.add_argument("case", help="a trained case of params.yaml")
    parser.add_argument("paths", nargs="+", metavar="path", help="image files, or folders of some")
    parser.add_argument("--format", choices=FORMATS, default="csv", help="json: an object a line")
    parser.add_argument("--output", type=Path, metavar="file", help="instead of standard output")
    parser.add_argument(
        "--operating-point",
        choices=OPERATING_POINTS,
        default=OPERATING_POINTS[0],
        help="chosen on validation images; by it the decision is made (default: %(default)s)",
    )
    parser.add_argument("--overlay", type=Path, metavar="folder", help="for maps, a PNG a picture")
    return parser


if __name__ == "__main__":
    run_command(predict, _parser())
