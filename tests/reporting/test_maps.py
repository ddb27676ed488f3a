from stages.reporting.maps import build_check_tables, build_score_table, name_not_class_specific
from stages.reporting.results import CaseResults, Results
from stages.reporting.table import Cell
from tests.reporting.conftest import Files


def two(results: Results) -> list[CaseResults]:
    return [results.cases[case] for case in ("full-ce", "lungs-bce")]


def test_maps_that_look_at_nothing_stand_beside_the_methods(results: Results) -> None:
    table = build_score_table([results.cases["full-ce"]])
    names = [row[1].text for row in table.rows]
    assert names == ["Grad-CAM", "EigenCAM", "a constant map", "a centred Gaussian"]
    shown = dict(zip(table.columns, table.rows[0], strict=True))
    assert shown["in lungs"] == Cell("0.400", "0.300 to 0.500; n = 6", 0.4, True)
    assert shown["target layer"].text == "conv2"


def test_a_score_that_one_map_lacks_is_undefined_for_it(files: Files) -> None:
    del files.cases["full-ce"].cam["summary"]["constant"]["in_lesions"]
    table = build_score_table([files.load().cases["full-ce"]])
    at = table.columns.index("in lesions")
    assert [row[at].text for row in table.rows] == ["0.400", "0.400", "n/a", "0.400"]


def test_a_mean_of_nothing_is_undefined(files: Files) -> None:
    nothing = {"mean": None, "low": None, "high": None, "n": 0}
    files.cases["full-ce"].cam["summary"]["gradcam"]["in_lungs"] = nothing
    cell = build_score_table([files.load().cases["full-ce"]]).rows[0][3]
    assert cell == Cell("n/a", "n = 0", None, True)


def test_methods_that_know_no_class_are_named(results: Results) -> None:
    assert name_not_class_specific(two(results)) == "EigenCAM"


def test_checks_of_the_maps_have_a_table_each(results: Results) -> None:
    agreement, randomisation, road = build_check_tables(two(results))
    assert agreement.rows[0][1].text == "Grad-CAM v EigenCAM"
    assert agreement.columns == ["case", "map", "mean"]
    assert randomisation.columns[2:] == ["head random", "all weights random"]
    assert road.columns[2:] == ["most relevant first"]
    assert road.rows[0][2].note == "0.300 to 0.500; n = 2"
    assert len(road.rows) == 4


def test_a_check_that_was_not_made_has_no_table(files: Files) -> None:
    files.cases["full-ce"].cam["road"] = {}
    assert len(build_check_tables([files.load().cases["full-ce"]])) == 2
