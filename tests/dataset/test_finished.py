import logging
from pathlib import Path
from typing import Any

import pytest

from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.params import Params
from stages.dataset.finished import first_missing, leave_out


@pytest.fixture
def params(tiny_params: dict[str, Any]) -> Params:
    classes = {"covid": "covid", "normal": "normal"}
    tiny_params["external"] = {
        name: {"case": case, "view": "full", "classes": classes}
        for name, case in (("away", "full-ce"), ("far", "lungs-bce"))
    }
    return parse_params(tiny_params)


def test_the_first_file_that_is_missing_is_found(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b", "c")]
    files[0].touch()
    assert first_missing(files) == files[1]
    assert first_missing(files[:1]) is None


def test_nothing_is_left_out_where_nothing_is_lacking(params: Params) -> None:
    assert leave_out(params, {"full-ce": None, "lungs-bce": None}) is params


def test_a_case_is_left_out_with_all_that_is_said_of_it(
    params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        kept = leave_out(params, {"full-ce": None, "lungs-bce": Path("x.csv")})
    assert list(kept.cases) == ["full-ce"]
    assert (list(kept.comparisons), list(kept.external)) == ([], ["away"])
    assert caplog.messages == ["lungs-bce is left out: it has no results in x.csv"]


def test_a_run_without_any_result_is_refused(params: Params) -> None:
    lacking = {name: Path(f"{name}.csv") for name in params.cases}
    with pytest.raises(UserError, match=r"first, full-ce, has none in full-ce.csv; run: dvc repro"):
        leave_out(params, lacking)
