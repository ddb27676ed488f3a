from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import load_yaml

from stages.config.errors import UserError
from stages.config.yaml_file import MAX_DEPTH, read_yaml


def file_with(folder: Path, text: str | bytes) -> Path:
    path = folder / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


MEANINGS = [
    ("010", 10),
    ("0777", 777),
    ("0o17", 15),
    ("no", "no"),
    ("on", "on"),
    ("1:30", "1:30"),
    ("1_0", 10),
    ("1e-3", 0.001),
    ("~", None),
]


@pytest.mark.parametrize(("word", "meaning"), MEANINGS)
def test_a_word_means_to_the_code_what_it_means_to_dvc(
    tmp_path: Path, word: str, meaning: Any
) -> None:
    path = file_with(tmp_path, f"a: {word}\n")
    assert read_yaml(path) == {"a": meaning} == load_yaml(str(path))


def bomb(merging: bool = False) -> str:
    """Nine anchors, each nine times the one before it: 9 ** 9 values."""
    lines = ["a: &a {k: v}" if merging else "a: &a [x]"]
    for before, name in zip("abcdefghi", "bcdefghij", strict=True):
        aliases = ", ".join([f"*{before}"] * 9)
        lines.append(f"{name}: &{name} " + (f"{{<<: [{aliases}]}}" if merging else f"[{aliases}]"))
    return "\n".join(lines)


UNREADABLE = [
    ("a: 1\nb: 2\na: 3\n", 3, 'found duplicate key "a"'),
    ("a:\n  b: 1\n  b: 1\n", 3, 'found duplicate key "b"'),
    ("seed: 1\n? {a: b}\n: 2\n", 2, "found unhashable key"),
    ("a: [1\n", 2, "while parsing a flow sequence"),
    ("a: 1\n---\nb: 1\n", 2, "expected a single document"),
    ("a: !!python/object:x.y z\n", 1, "could not determine a constructor"),
    ("a: 1\nb: !!int ten\n", 2, "ValueError: invalid literal"),
    ("a: !!int ''\n", 1, "IndexError"),
    ("\n\na: !!bool maybe\n", 3, "KeyError: 'maybe'"),
    ("a: !!float x\n", 1, "ValueError"),
    ("a: 1\nb: 2001-99-99\n", 2, "month must be in 1..12"),
    ("a: !!binary 'x'\n", 1, "failed to decode base64"),
    (f"a: {'9' * 5000}\n", 1, "Exceeds the limit"),
    (f"a: 1\nb: 0x{'f' * 5000}\n", 2, "ValueError: a whole number of more than 1,024 bits"),
    (f"0x{'f' * 300}: 1\n", 1, "ValueError: a whole number of more than 1,024 bits"),
    ("a: *b\n", 1, "undefined alias"),
    ("b: 1\na: &a [*a]\n", 2, "alias *a stands inside what it stands for"),
    (bomb(), 7, "more than 200,000 values"),
    (bomb(merging=True), 6, "more than 200,000 values"),
    (f"b: 1\na: {'[' * 100_000}", 2, f"nested deeper than {MAX_DEPTH} levels"),
    ("\n".join(" " * depth + "a:" for depth in range(2000)), 51, "nested deeper than"),
    ("a: 1\nb: {c: last:2}\n", 2, "quote text with a colon inside {} or []"),
    ("a: 1\nignore: [*_mask.png]\n", 2, "text that begins with * goes in quotes"),
    ("a: 1\nignore:\n  - !left\nb: 1\n", 3, "text that begins with ! goes in quotes"),
    ("a: 1\nignore: [!left]\nb: 1\n", 3, "text that begins with one of !*&#[{@% goes in quotes"),
    ("a:\n\tb: 1\n", 2, "cannot start any token"),
    ("a: 1\nb: \x07\n", 2, "control characters are not allowed"),
    (b"a: 1\nb: \xff\n", 2, "is not UTF-8 text"),
]


@pytest.mark.parametrize(("text", "line", "said"), UNREADABLE)
def test_what_cannot_be_read_is_one_line_with_the_line_of_the_file(
    tmp_path: Path, text: str | bytes, line: int, said: str
) -> None:
    path = file_with(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: line {line}: ")
    assert said in message
    assert "\n" not in message


def test_aliases_of_a_reasonable_size_are_read(tmp_path: Path) -> None:
    path = file_with(tmp_path, "a: &a {k: [1, 2]}\nb: *a\nc: {<<: *a, l: 3}\n")
    read = read_yaml(path)
    assert read == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}, "c": {"k": [1, 2], "l": 3}}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml: no such file; run from the root"):
        read_yaml(tmp_path / "params.yaml")


def test_a_file_of_unreasonable_length_is_not_read(tmp_path: Path) -> None:
    path = file_with(tmp_path, b"#" * 10_000_001)
    with pytest.raises(UserError, match=r"got 10,000,001 bytes; allowed: at most 10,000,000"):
        read_yaml(path)
