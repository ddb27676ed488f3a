import errno
import gzip
import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from stages.config.errors import UserError
from stages.sources import archive
from stages.sources.archive import is_archive, unpacked
from tests.faults import archives

MEMBERS = {"set/COVID/ä 1.png": b"one", "set/Normal/2.png": b"two" * 500}
TARS = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    suffix = next(s for s in sorted(TARS, key=len, reverse=True) if path.name.endswith(s))
    with tarfile.open(path, TARS[suffix]) as packed:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path


def make(path: Path, members: dict[str, bytes]) -> Path:
    return make_zip(path, members) if path.suffix == ".zip" else make_tar(path, members)


def make_tar_link(path: Path, kind: bytes, target: str) -> Path:
    with tarfile.open(path, "w") as packed:
        member = tarfile.TarInfo("COVID/link.png")
        member.type, member.linkname = kind, target
        packed.addfile(member)
    return path


def unpack(path: Path) -> dict[str, bytes]:
    """The files of an archive; the folder that they were in has to be gone afterwards."""
    scratch = path.parent / "scratch"
    try:
        with unpacked(path, scratch) as folder:
            assert folder.parent == scratch
            files = [file for file in folder.rglob("*") if file.is_file()]
            return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
    finally:
        assert not scratch.exists() or list(scratch.iterdir()) == []


@pytest.mark.parametrize("suffix", [".zip", ".ZIP", *TARS])
def test_members_are_unpacked_and_removed_at_the_end(tmp_path: Path, suffix: str) -> None:
    path = make(tmp_path / f"set{suffix.lower()}", MEMBERS).rename(tmp_path / f"set{suffix}")
    assert unpack(path) == MEMBERS


def test_folder_is_removed_when_its_user_fails(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", MEMBERS)
    with pytest.raises(KeyError, match="mine"), unpacked(path, tmp_path / "scratch"):
        raise KeyError("mine")
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_full_disk_is_not_taken_for_a_damaged_archive(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / f"set{suffix}", MEMBERS)

    def fill(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", fill)  # zipfile's
    monkeypatch.setattr(tarfile, "copyfileobj", fill)
    said = r"scratch: cannot be written \(No space left on device\); make room on the disk"
    with pytest.raises(UserError, match=said), unpacked(path, tmp_path / "scratch"):
        pass
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.zip", True),
        ("a.b.TAR.GZ", True),
        ("a.tgz", True),
        ("a.tar.bz2", True),
        ("a.tar.xz", True),
        ("a.tar", True),
        ("a.gz", False),
        ("a.rar", False),
        ("zip", False),
    ],
)
def test_archives_are_known_by_their_suffix(name: str, expected: bool) -> None:
    assert is_archive(Path(name)) is expected


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize(
    "name", ["../evil.png", "/evil.png", "COVID/../../evil.png", "..\\evil.png", "C:/evil.png"]
)
def test_member_that_would_leave_the_folder_is_refused(
    tmp_path: Path, suffix: str, name: str
) -> None:
    path = make(tmp_path / f"set{suffix}", {**MEMBERS, name: b"evil"})
    with pytest.raises(UserError, match=r"evil\.png' would land outside the folder"):
        unpack(path)
    assert list(tmp_path.rglob("evil.png")) == []


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_name_with_two_dots_inside_is_no_way_out(tmp_path: Path, suffix: str) -> None:
    members = {"COVID/a..b.png": b"one"}
    assert unpack(make(tmp_path / f"set{suffix}", members)) == members


@pytest.mark.parametrize("target", ["/etc/hostname", "../../outside", "inside.png"])
def test_symbolic_link_in_a_tar_is_refused(tmp_path: Path, target: str) -> None:
    path = make_tar_link(tmp_path / "set.tar", tarfile.SYMTYPE, target)
    with pytest.raises(UserError, match=r"member 'COVID/link\.png' is a link; pack the files"):
        unpack(path)


def test_symbolic_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("COVID/link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16  # made on Unix, S_IFLNK
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        packed.writestr(link, "/etc/hostname")
    with pytest.raises(UserError, match=r"member 'COVID/link\.png' is a link; pack the files"):
        unpack(tmp_path / "set.zip")


@pytest.mark.parametrize("target", ["../outside.png", "/etc/hostname", "not-there.png"])
def test_hard_link_to_no_member_of_a_tar_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "outside.png").write_text("secret")
    path = make_tar_link(tmp_path / "set.tar", tarfile.LNKTYPE, target)
    with pytest.raises(UserError, match=r"set\.tar: cannot be unpacked"):
        unpack(path)


def test_hard_link_to_an_earlier_member_of_a_tar_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"one")
    (tmp_path / "b.png").hardlink_to(tmp_path / "a.png")
    with tarfile.open(tmp_path / "set.tar", "w") as packed:
        packed.add(tmp_path / "a.png", "a.png")
        packed.add(tmp_path / "b.png", "b.png")
    assert unpack(tmp_path / "set.tar") == {"a.png": b"one", "b.png": b"one"}


def test_device_in_a_tar_is_refused(tmp_path: Path) -> None:
    path = make_tar_link(tmp_path / "set.tar", tarfile.FIFOTYPE, "")
    with pytest.raises(UserError, match=r"'COVID/link\.png' is a special file"):
        unpack(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_member_that_would_overwrite_another_is_refused(tmp_path: Path, suffix: str) -> None:
    path = make(tmp_path / f"set{suffix}", {"COVID/1.png": b"one", "COVID//1.png": b"two"})
    with pytest.raises(UserError, match=r"member 'COVID//1\.png' is there twice"):
        unpack(path)


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {"COVID/1.png": b"one"})
    content = bytearray(path.read_bytes())
    directory = content.rfind(b"PK\1\2")
    content[6] |= 1  # APPNOTE.TXT 4.3.7: flags of the member
    content[directory + 8] |= 1  # 4.3.12: flags in the table of contents
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"member 'COVID/1\.png' is encrypted; unpack it by hand"):
        unpack(path)


@pytest.mark.parametrize("suffix", [".zip", *TARS])
@pytest.mark.parametrize("content", [b"", b"<html>quota exceeded</html>" * 100])
def test_file_that_is_no_archive_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"set{suffix}").write_bytes(content)
    with pytest.raises(UserError, match=r"not a zip file|not a tar archive, or damaged"):
        unpack(tmp_path / f"set{suffix}")


@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_archive_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    path = make(tmp_path / f"set{suffix}", MEMBERS)
    # In the second member; a plain tar is padded to 10240 bytes.
    kept = 3000 if suffix == ".tar" else path.stat().st_size // 2
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"download it again") as caught:
        unpack(path)
    assert "\n" not in str(caught.value)


def test_tar_cut_between_two_members_is_refused(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "set.tar", {"a.png": b"one", "b.png": b"two"})
    path.write_bytes(path.read_bytes()[:1024])  # header and content of the first member
    with pytest.raises(UserError, match="damaged or cut short after 1 members"):
        unpack(path)


def test_tar_with_a_damaged_later_header_is_refused(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "set.tar", {"a.png": b"one", "b.png": b"two"})
    content = bytearray(path.read_bytes())
    content[1024] ^= 1  # first byte of the second member's name
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged or cut short after 1 members"):
        unpack(path)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_compressed_tar_whose_checksum_does_not_fit_is_refused(tmp_path: Path, suffix: str) -> None:
    path = make_tar(tmp_path / f"set{suffix}", MEMBERS)
    content = bytearray(path.read_bytes())
    content[-8 if "gz" in suffix else -5] ^= 1  # gzip: the sum of the content, RFC 1952, 2.3.1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be unpacked"):
        unpack(path)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_second_tar_behind_the_first_is_not_lost_silently(tmp_path: Path, suffix: str) -> None:
    path = make_tar(tmp_path / f"set{suffix}", MEMBERS)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(UserError, match=r"a second archive stands behind the end of the first"):
        unpack(path)


def test_what_fills_up_the_last_record_of_a_tar_may_be_anything(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "set.tar", MEMBERS)
    path.write_bytes(path.read_bytes() + b"anything" * 64)
    assert unpack(path) == MEMBERS


def test_zip_with_damaged_content_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr("a.png", b"one")
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    with pytest.raises(UserError, match=r"cannot be unpacked \(Bad CRC-32 for file 'a\.png'\)"):
        unpack(path)


def test_zip_whose_table_of_contents_hides_a_member_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {"a.png": b"one", "b.png": b"two"})
    content = bytearray(path.read_bytes())
    first = content.find(b"PK\1\2")
    content[first + 33] = 255  # APPNOTE.TXT 4.3.12: high byte of the comment's length
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged: 1 members found, 2 expected"):
        unpack(path)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_archive_over_the_size_limit_is_refused(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 1000)
    path = make(tmp_path / f"set{suffix}", {"a.png": bytes(600), "b.png": bytes(600)})
    with pytest.raises(UserError, match=r"would take 0\.0 GiB unpacked, allowed are 0\.0"):
        unpack(path)


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_bomb_is_refused_from_the_least_size_on(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / f"set{suffix}", {"a.png": bytes(1_000_000)})
    assert path.stat().st_size * archive.MAX_RATIO < 1_000_000
    assert unpack(path) == {"a.png": bytes(1_000_000)}
    monkeypatch.setattr(archive, "MIN_BOMB_BYTES", 999_999)
    with pytest.raises(UserError, match=r"unpacks to \d+ times its size, as a decompression bomb"):
        unpack(path)


def test_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set\.zip: no such archive"):
        unpack(tmp_path / "set.zip")


def test_other_suffix_is_refused_with_those_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "set.rar").write_bytes(b"Rar!")
    with pytest.raises(UserError, match=r"not an archive by its name; can be read: \.zip, \.tar"):
        unpack(tmp_path / "set.rar")


def header(name: str, size: int, kind: bytes) -> bytes:
    """The header of a tar's member that says what it likes of its size."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_tar_header_that_claims_2_gib_is_refused_unread(
    tmp_path: Path, suffix: str, kind: bytes
) -> None:
    content = header("long", 2**31, kind) + bytes(10240)
    path = tmp_path / f"set{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".tar.gz" else content)
    with pytest.raises(UserError, match=r"set\.tar.*: a header of more than 1048576 bytes"):
        unpack(path)


def test_file_in_a_tar_that_claims_2_gib_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.tar").write_bytes(header("a.png", 2**31, tarfile.REGTYPE) + bytes(10240))
    with pytest.raises(UserError, match="times its size, as a decompression bomb does"):
        unpack(tmp_path / "set.tar")


def test_header_before_header_before_header_is_refused(tmp_path: Path) -> None:
    one = header("long", 5, tarfile.GNUTYPE_LONGNAME) + b"abcd".ljust(512, b"\0")
    content = one * 2000 + header("a.png", 0, tarfile.REGTYPE) + bytes(1024)
    (tmp_path / "set.tar").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be unpacked \(maximum recursion depth exceeded"):
        unpack(tmp_path / "set.tar")


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"GNU.sparse.map": "a,b"}, r"cannot be unpacked \(invalid literal for int"),
        ({"GNU.sparse.size": str(2**41), "GNU.sparse.map": "0,1"}, "would take 2048.0 GiB"),
        ({"size": str(10**23)}, "would take"),
        ({"size": "-5"}, "has a size below 0"),
    ],
)
def test_tar_whose_numbers_are_none_or_too_large_is_refused(
    tmp_path: Path, headers: dict[str, str], said: str
) -> None:
    with tarfile.open(tmp_path / "set.tar", "w", format=tarfile.PAX_FORMAT) as packed:
        member = tarfile.TarInfo("a.png")
        member.pax_headers = headers
        packed.addfile(member)
    with pytest.raises(UserError, match=said):
        unpack(tmp_path / "set.tar")


@pytest.mark.parametrize("time", ["nan", "1e400", "-9e99"])
def test_time_that_no_clock_shows_does_not_hinder(tmp_path: Path, time: str) -> None:
    with tarfile.open(tmp_path / "set.tar", "w", format=tarfile.PAX_FORMAT) as packed:
        member = tarfile.TarInfo("a.png")
        member.pax_headers, member.size = {"mtime": time}, 3
        packed.addfile(member, io.BytesIO(b"one"))
    assert unpack(tmp_path / "set.tar") == {"a.png": b"one"}


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_member_3000_folders_deep_is_refused_in_one_short_line(tmp_path: Path, suffix: str) -> None:
    path = make(tmp_path / f"set{suffix}", {"a/" * 3000 + "x.png": b"one"})
    with pytest.raises(UserError, match="lies 3001 folders deep, allowed are 100") as caught:
        unpack(path)
    assert len(str(caught.value)) < 300
    deep = {"a/" * 99 + "x.png": b"one"}
    assert unpack(make(tmp_path / f"deep{suffix}", deep)) == deep


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_more_members_than_the_limit_are_refused(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / f"set{suffix}", {f"{number}.png": b"" for number in range(5)})
    assert len(unpack(path)) == 5
    monkeypatch.setattr(archive, "MAX_MEMBERS", 4)
    with pytest.raises(UserError, match="more than 4 members"):
        unpack(path)


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_empty_folders_are_not_made(tmp_path: Path, suffix: str) -> None:
    with_folder = {"COVID/": b"", "COVID/1.png": b"one"}
    path = make(tmp_path / f"set{suffix}", with_folder if suffix == ".zip" else {})
    if suffix == ".tar":
        with tarfile.open(path, "w") as packed:
            for number in range(3):
                member = tarfile.TarInfo(f"empty/{number}")
                member.type = tarfile.DIRTYPE
                packed.addfile(member)
    expected = {"COVID/1.png": b"one"} if suffix == ".zip" else {}
    assert unpack(path) == expected
    with unpacked(path, tmp_path / "scratch") as folder:
        assert [entry.name for entry in folder.iterdir()] == [n.split("/")[0] for n in expected]


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_special_file_of_any_kind_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = make_tar_link(tmp_path / "set.tar", kind, "")
    with pytest.raises(UserError, match=r"'COVID/link\.png' is a special file, such as a device"):
        unpack(path)


def test_hard_link_to_itself_is_refused(tmp_path: Path) -> None:
    path = make_tar_link(tmp_path / "set.tar", tarfile.LNKTYPE, "COVID/link.png")
    with pytest.raises(UserError, match="which is no file before it"):
        unpack(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile, as it is made
def test_archives_of_each_kind_are_given_whole_or_refused_in_one_line(tmp_path: Path) -> None:
    outcomes, faults = archives.run(len(archives.KINDS) * 3, 1, tmp_path)
    assert faults == []
    assert {("sound", "given"), ("cut", "refused"), ("links", "refused")} <= outcomes.keys()
