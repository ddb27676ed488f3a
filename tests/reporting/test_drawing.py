import itertools
import re

from stages.reporting.drawing import draw_legend, line_style, panel_row, to_svg


def draw(n_lines: int) -> str:
    figure, axes = panel_row(n_lines)
    for number in range(n_lines):
        axes[0].plot((0, 1), (number, 1), label=f"line {number}", **line_style(number))
    draw_legend(axes[0])
    return to_svg(figure)


def test_no_two_of_many_cases_have_the_same_line() -> None:
    lines = re.findall(r'style="(fill: none;[^"]*stroke-width: 1.4[^"]*)"', draw(24))
    assert len(set(lines)) == 24


def test_neighbours_are_told_apart_without_colour() -> None:
    dashes = [line_style(number)["linestyle"] for number in range(24)]
    assert all(a != b for a, b in itertools.pairwise(dashes))


def test_ink_takes_the_colour_of_the_page() -> None:
    svg = draw(1)
    assert "currentColor" in svg
    assert "#000000" not in svg


def test_coordinates_have_two_decimals_and_lines_no_indentation() -> None:
    svg = draw(2)
    paths = re.findall(r' d="([^"]*)"', svg)
    assert paths
    assert not [path for path in paths if re.search(r"\.\d{3}", path)]
    assert not re.search(r"\n\s|\s\n", svg)


def test_the_same_lines_give_the_same_text() -> None:
    assert draw(3) == draw(3)


def test_two_figures_of_a_page_have_no_id_in_common() -> None:
    texts = []
    for top in (1, 2):  # alike but for the numbers on an axis
        figure, (left, right) = panel_row(2)
        for axis in (left, right):
            axis.plot((0, 1), (0, top), marker=".")
        texts.append(to_svg(figure))
    ids = [re.findall(r' id="([^"]*)"', text) for text in texts]
    assert all(ids)
    assert not set(ids[0]) & set(ids[1])
    for text, own in zip(texts, ids, strict=True):
        used = re.findall(r'(?:xlink:href="|url\()#([^")]*)', text)
        assert used
        assert set(used) <= set(own)
        assert len(own) == len(set(own))
