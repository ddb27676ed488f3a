from stages.reporting.subgroups import build_subgroup_table, describe_gaps
from stages.reporting.table import Cell
from tests.reporting.conftest import Files


def test_a_group_stands_beside_the_rest_with_its_adjusted_p_value(files: Files) -> None:
    cases = files.load().datasets["ct"].cases
    table = build_subgroup_table(cases)
    assert table is not None
    assert len(table.rows) == 2 * len(cases)
    first, second = table.rows[:2]  # who is scored comes first
    assert [cell.text for cell in first[1:4]] == ["sex", "M", "normal 30, covid 30"]
    assert first[4] == Cell("0.850", "0.750 to 0.950", 0.85, is_figure=True)
    assert first[5].text == "+0.200"
    assert first[5].note == "+0.100 to +0.300"
    assert first[6] == Cell("0.008", "unadjusted 0.004", 0.008, is_figure=True)
    assert [cell.text for cell in second[4:]] == ["n/a"] * 6
    assert second[2] == Cell("F", "not scored: too few")
    assert second[3].note == "too few: normal 4 of 3 patients, covid 4 of 3 patients"
    assert "from 10 patients on" in table.caption


def test_settled_differences_are_named(files: Files) -> None:
    case = files.load().cases["full-ce"]
    assert describe_gaps(case) == [
        "full-ce, subgroups of the test images: differ from the rest: sex M (balanced accuracy "
        "+0.200), sex M (AUROC +0.200); 2 differences tested."
    ]


def test_differences_that_are_not_settled_are_counted(files: Files) -> None:
    [part] = files.cases["full-ce"].report["subgroups"]["partitions"]
    gaps = part["groups"][1]["against_rest"]
    for gap in gaps.values():
        gap["p_value_holm"] = 0.2
    assert describe_gaps(files.load().cases["full-ce"]) == [
        "full-ce, subgroups of the test images: none differs from the rest; 2 differences tested."
    ]


def test_groups_beyond_the_first_few_that_are_not_scored_are_counted(files: Files) -> None:
    [part] = files.cases["full-ce"].report["subgroups"]["partitions"]
    part["groups"] += [part["groups"][0] | {"name": f"p{number}"} for number in range(20)]
    table = build_subgroup_table([files.load().cases["full-ce"]])
    assert table is not None
    assert len(table.rows) == 1 + 8 + 1
    assert table.rows[-1][2] == Cell("13 more groups", "too few in each to be scored")


def test_where_nothing_cuts_the_images_there_is_no_table(files: Files) -> None:
    for case in files.cases.values():
        case.report["subgroups"]["partitions"] = []
    cases = files.load().datasets["ct"].cases
    assert build_subgroup_table(cases) is None
    assert describe_gaps(cases[0]) == []
