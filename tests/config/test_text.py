import pytest

from stages.config.text import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b.png", "a b.png"),
        ("肺 é 100% [1] <b>.png", "肺 é 100% [1] <b>.png"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x1b[31mred\x00", r"\x1b[31mred\x00"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("\U0001f468\u200d\u2695\ufe0f", "\U0001f468\u200d\u2695\ufe0f"),  # joined emoji
        ("\u05d0\u05d1", "\u05d0\u05d1"),  # Hebrew turns nothing but itself
        ("\ud800", r"\ud800"),
    ],
)
def test_what_acts_on_its_surroundings_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


def test_characters_can_be_kept() -> None:
    assert visible("a\nb\tc\r", keep="\n\t") == "a\nb\tc\\r"
