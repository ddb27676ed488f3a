from stages.reporting.audit_tables import build_gap_table, build_probe_table
from stages.reporting.results import Results


def test_shortcuts_come_before_what_they_are_held_against(results: Results) -> None:
    audit = results.audits["labels-full"]
    audit["probes"] = dict(reversed(audit["probes"].items()))
    rows = build_probe_table(results, "labels").rows
    kinds = [row[2].text for row in rows]
    assert kinds == ["shortcut"] * 5 + ["reference"] * 2
    assert {row[0].text for row in rows} == {"labels-full"}


def test_the_best_shortcut_is_marked(results: Results) -> None:
    marked = [row[1].text for row in build_probe_table(results, "ct").rows if row[2].note]
    assert marked == ["border", "border"]  # one per view


def test_a_probe_has_a_figure_for_every_class(results: Results) -> None:
    table = build_probe_table(results, "labels")
    classes = ["normal", "pneumonia", "covid"]
    assert table.columns[5:] == [f"AUROC, {name} against the rest" for name in classes]
    assert [cell.number for cell in table.rows[0][5:]] == [0.55] * 3


def test_the_leakage_gap_stands_beside_both_splits(results: Results) -> None:
    table = build_gap_table(results, "labels")
    [row] = table.rows
    shown = dict(zip(table.columns, row, strict=True))
    assert shown["AUROC, split by image"].number == 0.8
    assert shown["AUROC, split by group"].number == 0.7
    assert shown["AUROC, gap"].text == "+0.100"
    assert shown["AUROC, gap"].note == "+0.020 to +0.180"
    assert shown["model"].text == "one nearest neighbour on the thumbnail"
