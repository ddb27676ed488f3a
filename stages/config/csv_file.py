"""The reader of what `write_csv` wrote: text comes back as it went in."""

from pathlib import Path
from typing import Any

import pandas as pd


def read_csv(path: Path, dtype: Any = None) -> pd.DataFrame:
    """Read a table, in which nothing is missing: `NA` and `null` are text, and so is nothing.

    Args:
        path: of a file that `write_csv` wrote.
        dtype: as of `pandas.read_csv`; columns without one are numbers where all of it is.
    """
    # pandas' fast parser ends text at a null character.
    engine: Any = "python" if b"\0" in path.read_bytes() else "c"
    return pd.read_csv(
        path, dtype=dtype, keep_default_na=False, engine=engine, skip_blank_lines=False
    )
