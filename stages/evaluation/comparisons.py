"""Two cases on the same test images: paired differences of metrics and of maps."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.progress import progress
from stages.dataset.task import Task
from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.outcomes import Outcomes
from stages.evaluation.shared_draws import SharedDraws
from stages.evaluation.statistics.bootstrap import compare, mean_interval
from stages.evaluation.statistics.effective_size import detectable
from stages.evaluation.statistics.paired_tests import (
    AccuracyTest,
    adjust_holm,
    delong_test,
    mcnemar_test,
)
from stages.evaluation.statistics.records import Bootstrap, Estimate, Paired
from stages.evaluation.statistics.rounding import rounded, significant


class RowsCompared(NamedTuple):
    """Two cases' figures on the images that both are tested on.

    Attributes:
        counts: images and groups compared, rows of each side, images of one side left out.
        metrics: HEADLINE_METRICS.
    """

    counts: Mapping[str, int]
    metrics: Mapping[str, Paired]


class MapsCompared(NamedTuple):
    """Maps of one method, over the drawn images that both have a map of.

    Attributes:
        n: images.
        means: share inside the lungs, and of the lungs, of each side.
        difference: of the shares inside the lungs.
    """

    n: int
    means: Mapping[str, float | None]
    difference: Estimate


class Comparison(NamedTuple):
    """The first case minus the second.

    Attributes:
        first: name of a case.
        second: likewise.
        differs: settings that they do not share, with both values.
        optimistic: whichever of the two is scored under an optimistic protocol.
        positive: the class that DeLong's test is of.
        test: on all test images.
        delong: of the positive class's AUROC.
        mcnemar: of the accuracy.
        subgroups: by stratum of the test images.
        maps: by method.
    """

    first: str
    second: str
    differs: Mapping[str, list[Any]]
    optimistic: list[str]
    positive: str
    test: RowsCompared
    delong: Estimate
    mcnemar: AccuracyTest
    subgroups: Mapping[str, RowsCompared]
    maps: Mapping[str, MapsCompared]

    def to_json(self) -> dict[str, Any]:
        """As metrics/comparisons.json has it; adjusted p-values beside those of a family."""
        adjusted = {
            metric: pair.to_json() | pair.difference.of_family()
            for metric, pair in self.test.metrics.items()
        }
        return {
            "first": self.first,
            "second": self.second,
            "differs": self.differs,
            "optimistic": self.optimistic,
            "test": {**self.test.counts, **adjusted},
            "delong": {"positive": self.positive}
            | self.delong.as_test()
            | {"p_value_holm": self.delong.p_value_holm},
            "mcnemar": self.mcnemar._asdict(),
            "subgroups": {
                name: {**found.counts, **{m: pair.to_json() for m, pair in found.metrics.items()}}
                for name, found in self.subgroups.items()
            },
            "maps": {
                method: {"n": found.n, **found.means, **found.difference.as_difference()}
                for method, found in self.maps.items()
            },
        }


class _Pair(NamedTuple):
    """Test rows of two cases, one row per image and run."""

    first: pd.DataFrame
    second: pd.DataFrame

    def images(self) -> tuple[set[str], set[str]]:
        """The images that each of the two was tested on."""
        return set(self.first["image_id"]), set(self.second["image_id"])

    def shared(self) -> Self:
        """All rows of the images that both were tested on."""
        both = set.intersection(*self.images())
        return type(self)(*(rows[rows["image_id"].isin(both)] for rows in self))

    def of_subgroup(self, name: str) -> Self:
        """The rows of one stratum."""
        return type(self)(*(rows[rows["subgroup"] == name] for rows in self))


def compare_all_cases(outcomes: Outcomes, draws: SharedDraws) -> dict[str, Comparison]:
    """Every comparison that params.yaml names, with p-values adjusted by Holm's method.

    Each metric on all test images, DeLong's test and McNemar's test are a family of their own,
    over all comparisons of all data sets. Strata are not adjusted.

    Raises:
        UserError: two cases have no test image in common.
    """
    named = outcomes.params.comparisons
    return _adjust(
        {
            name: compare_cases(outcomes, first, second, draws)
            for name, (first, second) in progress(named.items(), "comparisons", len(named))
        }
    )


def compare_cases(outcomes: Outcomes, first: str, second: str, draws: SharedDraws) -> Comparison:
    """The first case minus the second, on the test images that both have.

    Raises:
        UserError: no image was tested by both.
    """
    names, task = (first, second), outcomes.cases[first].task
    # In an order of their own, so that the order in the files plays no part.
    pair = _Pair(
        *(
            outcomes.cases[name].test.sort_values(["image_id", "fold", "seed"], ignore_index=True)
            for name in names
        )
    )
    if not set.intersection(*pair.images()):
        raise UserError(
            f"comparisons: {first} and {second} have no test image in common; "
            "allowed: two cases that are tested on some of the same images"
        )
    shared = pair.shared()
    strata = [name for name in np.unique(shared.first["subgroup"]) if name]
    delong, mcnemar = _test_pair(shared, task)
    return Comparison(
        first=first,
        second=second,
        differs=find_differences(outcomes.params, first, second),
        optimistic=[name for name in names if outcomes.cases[name].is_optimistic],
        positive=task.positive_name,
        test=_compare_rows(names, pair, task, draws),
        delong=delong,
        mcnemar=mcnemar,
        subgroups={
            stratum: _compare_rows(names, pair.of_subgroup(stratum), task, draws)
            for stratum in strata
        },
        maps={
            method: _compare_maps(
                outcomes.cases[first].maps[method],
                outcomes.cases[second].maps[method],
                draws.bootstrap,
            )
            for method in outcomes.params.cam.methods
        },
    )


def find_differences(params: Params, first: str, second: str) -> dict[str, list[Any]]:
    """Settings that two cases do not share, with both values.

    Returns:
        Field of the case, of its recipe or of its protocol, or `view.<field>` for those of its
        view, to [of first, of second].
    """
    settings = [_list_settings(params, case) for case in (first, second)]
    return {
        field: [side[field] for side in settings]
        for field in settings[0]
        if settings[0][field] != settings[1][field]
    }


def _list_settings(params: Params, name: str) -> dict[str, Any]:
    case = params.case(name)
    parts = (case, params.recipe(case.recipe), params.protocol(case.protocol))
    settings = {key: value for part in parts for key, value in part.model_dump(mode="json").items()}
    view = params.view(case.view).model_dump(mode="json")
    settings |= {f"view.{field}": value for field, value in view.items()}
    # What they say counts, not what they are called.
    return {key: value for key, value in settings.items() if key not in ("recipe", "protocol")}


def _compare_rows(
    names: tuple[str, str], pair: _Pair, task: Task, draws: SharedDraws
) -> RowsCompared:
    shared = pair.shared()
    first, second = (draws.of(name, rows, task) for name, rows in zip(names, shared, strict=True))
    return RowsCompared(_count_images(pair, shared), compare(first, second, paired=True))


def _count_images(pair: _Pair, shared: _Pair) -> dict[str, int]:
    images, others = pair.images()
    return {
        "n": len(images & others),
        "n_groups": int(shared.first["group_id"].nunique()),
        "n_rows_first": len(shared.first),
        "n_rows_second": len(shared.second),
        "n_only_first": len(images - others),
        "n_only_second": len(others - images),
    }


def _test_pair(shared: _Pair, task: Task) -> tuple[Estimate, AccuracyTest]:
    """Tests that need one row per image: of the positive class's AUROC and of the accuracy."""
    most = max(int(rows["image_id"].value_counts().max()) for rows in shared)
    if most > 1:
        reason = f"an image has up to {most} rows; `ensemble: true` gives one row per image"
        return Estimate(None, why_undefined=reason), AccuracyTest(None, None, None, reason)
    a, b = shared
    score = f"prob_{task.positive_name}"
    auroc = delong_test(a["label"] == task.positive_name, a[score], b[score], a["group_id"])
    accuracy = mcnemar_test(
        a["prediction"] == a["label"], b["prediction"] == b["label"], a["group_id"]
    )
    return (
        Estimate(*(_rounded(value) for value in auroc)),
        AccuracyTest(*(_rounded(value) for value in accuracy)),
    )


def _rounded(value: Any) -> Any:
    return significant(value) if isinstance(value, float) else value


def _compare_maps(a: pd.DataFrame, b: pd.DataFrame, bootstrap: Bootstrap) -> MapsCompared:
    """Mean share of the maps inside the lungs, and the paired difference."""
    both = a.merge(b, on="image_id", suffixes=("_first", "_second"), validate="one_to_one")
    both = both.dropna()
    difference = both["in_lungs_first"] - both["in_lungs_second"]
    ends = mean_interval(difference.to_numpy(), both["group_id_first"].to_numpy(), bootstrap)
    scores = [f"{s}_{side}" for s in ("in_lungs", "lungs_area") for side in ("first", "second")]
    return MapsCompared(
        len(both),
        {score: rounded(both[score].mean()) for score in scores},
        Estimate(rounded(difference.mean()), *ends),
    )


def _adjust(found: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """Put the adjusted p-value of each test beside its own."""
    delong = _holm({name: comparison.delong.p_value for name, comparison in found.items()})
    mcnemar = _holm({name: comparison.mcnemar.p_value for name, comparison in found.items()})
    metrics = {
        metric: _holm(
            {name: c.test.metrics[metric].difference.p_value for name, c in found.items()}
        )
        for metric in HEADLINE_METRICS
    }
    return {
        name: comparison._replace(
            test=comparison.test._replace(
                metrics={
                    metric: _in_family(pair, metrics[metric], name)
                    for metric, pair in comparison.test.metrics.items()
                }
            ),
            delong=comparison.delong._replace(p_value_holm=delong[name]),
            mcnemar=comparison.mcnemar._replace(p_value_holm=mcnemar[name]),
        )
        for name, comparison in found.items()
    }


def _in_family(pair: Paired, family: Mapping[str, float | None], name: str) -> Paired:
    """A pair with its adjusted p-value, and what could be settled after that adjustment."""
    least, tests = pair.difference.detectable, sum(p is not None for p in family.values())
    if least is not None and tests:
        # In proportion to the standard error, which stands in both.
        least = rounded(least * detectable(1.0, tests) / detectable(1.0))
    return pair.with_family(family[name], least)


def _holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: _rounded(p_value) for name, p_value in adjust_holm(p_values).items()}
