"""Files of Kaggle and Google Drive, by their own packages, which are there for those who need them.

Looked at: kagglehub 1.0.3 (`dataset_download`, `exceptions`), gdown 6.5.1 (`download`,
`exceptions`).
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import requests

from stages.config.errors import UserError
from stages.config.progress import ByteProgress
from stages.downloads.reason import reason_of

KAGGLE, GDRIVE = "kaggle:", "gdrive:"
PACKAGES = {KAGGLE: "kagglehub==1.0.3", GDRIVE: "gdown==6.5.1"}
KAGGLE_CREDENTIALS = (
    "KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, in the environment, or the file "
    "~/.kaggle/kaggle.json (kaggle.com, Settings, API)"
)
TIMEOUT_S = 60.0
RETRIES = 5


def get_kaggle(address: str, scratch: Path) -> Path:
    """Get all files of a data set of Kaggle, unpacked; kagglehub goes on with what a kill left.

    Args:
        address: `kaggle:owner/slug`, with `/versions/3` for one that stays.
        scratch: folder of its own.

    Returns:
        The folder of the files, in `scratch`.
    """
    kagglehub = _package(KAGGLE)
    handle = address.removeprefix(KAGGLE)
    wrong = kagglehub.exceptions
    try:
        with _kaggle_cache(scratch):
            return Path(kagglehub.dataset_download(handle))
    except (wrong.CredentialError, wrong.UnauthenticatedError) as error:
        raise UserError(_kaggle_refusal(address, error)) from None
    except requests.HTTPError as error:  # KaggleApiHTTPError is one
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise UserError(_kaggle_refusal(address, error)) from None
        if status == 404:
            raise UserError(f"{address}: Kaggle has no such data set; correct it") from None
        raise UserError(f"{address}: {reason_of(error)}; run again later") from None
    except requests.RequestException as error:
        raise UserError(f"{address}: {reason_of(error)}; run again to go on") from None
    except wrong.DataCorruptionError as error:
        raise UserError(f"{address}: came damaged ({reason_of(error)}); run again") from None
    except (wrong.BackendError, wrong.NotFoundError, ValueError) as error:
        raise UserError(f"{address}: {reason_of(error)}") from None


def get_gdrive(address: str, scratch: Path, what: str) -> Path:
    """Get a file of Google Drive that is shared with all; gdown goes on with what a kill left.

    Returns:
        The file, in `scratch`, called as in the drive.
    """
    gdown: Any = _package(GDRIVE)
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        with ByteProgress(what) as progress:
            got = gdown.download(
                id=address.removeprefix(GDRIVE),
                output=f"{scratch}{os.sep}",
                quiet=True,
                resume=True,
                progress=progress.at,
                timeout=TIMEOUT_S,
                retries=RETRIES,
            )
    except gdown.exceptions.FileURLRetrievalError as error:
        raise UserError(
            f"{address}: Google Drive does not hand it out ({reason_of(error)}); it has to be "
            "shared with anyone who has the link, and much asked-for files are held back for a "
            "day; get it with a browser and give its path as source.path, or put the cookies of a "
            "login into ~/.cache/gdown/cookies.txt"
        ) from None
    except (gdown.exceptions.DownloadError, requests.RequestException) as error:
        raise UserError(f"{address}: {reason_of(error)}; run again to go on") from None
    return Path(got)


def _package(prefix: str) -> ModuleType:
    name = PACKAGES[prefix].partition("=")[0]
    try:
        importlib.import_module(f"{name}.exceptions")
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"an address of {prefix} needs the package {name} ({reason_of(error)}): "
            f"pip install {PACKAGES[prefix]}"
        ) from None


def _kaggle_refusal(address: str, error: Exception) -> str:
    page = f"https://www.kaggle.com/datasets/{address.removeprefix(KAGGLE)}"
    return (
        f"{address}: Kaggle does not hand it out ({reason_of(error)}); it wants to know who asks: "
        f"{KAGGLE_CREDENTIALS}; some sets also want their terms accepted at {page}"
    )


@contextmanager
def _kaggle_cache(folder: Path) -> Iterator[None]:
    """Let kagglehub keep what it does here: with `output_dir` it does not go on after a kill."""
    before = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str(folder.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["KAGGLEHUB_CACHE"]
        else:
            os.environ["KAGGLEHUB_CACHE"] = before
