"""What a downloaded file is called, from what a server or an address says."""

import re
import unicodedata
from email.message import Message
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

MAX_BYTES = 200  # of a file name; systems allow 255, and some is for names beside it
NAMELESS = "download"


def name_of(address: str, disposition: str | None, last_url: str) -> str:
    """A name that is safe on any system.

    Args:
        address: as params.yaml has it.
        disposition: the header Content-Disposition (RFC 6266), where there is one.
        last_url: where redirects have led.
    """
    said = [_of_disposition(disposition), _of_url(address), _of_url(last_url)]
    return next(filter(None, map(safe_name, filter(None, said))), NAMELESS)


def safe_name(name: str) -> str:
    """The last part of a path, without signs of systems and shells; "": nothing is left."""
    last = PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/")).name
    plain = re.sub(r"[^\w. ()+,=@-]", "_", last).strip().lstrip(".-").rstrip(". ")
    stem, dot, ending = plain.rpartition(".")
    while len(plain.encode()) > MAX_BYTES:
        stem, ending = (stem[:-1], ending) if stem else ("", ending[:-1])
        plain = f"{stem}{dot}{ending}"
    plain = plain.lstrip(".- ")
    return plain if any(character.isalnum() for character in plain) else ""


def _of_disposition(header: str | None) -> str | None:
    if not header:
        return None
    message = Message()
    message["Content-Disposition"] = header.replace("\r", " ").replace("\n", " ")
    return message.get_filename()


def _of_url(url: str) -> str:
    return unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
