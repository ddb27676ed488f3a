import pytest

from stages.downloads.file_name import MAX_BYTES, name_of, safe_name


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("set.zip", "set.zip"),
        ("../../etc/passwd", "passwd"),
        (r"C:\data\set.zip", "set.zip"),
        ("--help", "help"),
        (".bashrc", "bashrc"),
        ("a\nb\x1b[31m.zip", "a_b__31m.zip"),
        ("\u202egpj.exe", "_gpj.exe"),
        ("CON ", "CON"),
        ("a:b?.zip", "a_b_.zip"),
        ("...", ""),
        ("", ""),
        ("/", ""),
        ("Lübeck.zip", "Lübeck.zip"),
        ("Lu\u0308beck.zip", "Lübeck.zip"),
    ],
)
def test_a_name_is_the_last_part_without_signs(said: str, name: str) -> None:
    assert safe_name(said) == name


@pytest.mark.parametrize("said", ["ä" * 500 + ".tar", "a" * 500, "." + "é" * 400, "a." + "b" * 400])
def test_a_long_name_is_cut(said: str) -> None:
    assert 0 < len(safe_name(said).encode()) <= MAX_BYTES
    assert safe_name("ä" * 500 + ".tar").endswith(".tar")


@pytest.mark.parametrize(
    ("address", "disposition", "last", "name"),
    [
        ("https://a.org/x/set.zip?v=1", None, "https://b.org/blob", "set.zip"),
        (
            "https://a.org/x/set.zip",
            'attachment; filename="real.zip"',
            "https://a.org/",
            "real.zip",
        ),
        ("https://a.org/x/set.zip", "attachment", "https://a.org/", "set.zip"),
        ("https://a.org", None, "https://b.org/real.zip", "real.zip"),
        ("https://a.org", None, "https://a.org/", "download"),
        ("https://a.org/%2e%2e%2f%2e%2e", None, "https://a.org/", "download"),
        ("https://a.org/x", 'filename="', "https://a.org/", "x"),
    ],
)
def test_the_server_then_the_address_then_where_it_leads_name_a_file(
    address: str, disposition: str | None, last: str, name: str
) -> None:
    assert name_of(address, disposition, last) == name
