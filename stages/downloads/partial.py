"""A file that is coming: what there is of it, and what is known of the whole."""

import json
import shutil
from pathlib import Path

from stages.config.writing import write_json


class PartialFile:
    """Lies in a scratch folder of its address, and is gone on with where a stage was killed.

    Attributes:
        content: the bytes so far.
        validator: the server's mark of this state of the file (RFC 9110, 8.8); "" where it has
            none.
        total: bytes of the whole; None where the server does not say.
        name: what the file is called.
        is_whole: whether all of it is here.
    """

    def __init__(self, folder: Path) -> None:
        """Go on with what an earlier run left."""
        self._folder = folder
        self._state = folder / "state.json"
        self.content = folder / "content"
        self._load()

    def _load(self) -> None:
        try:
            state = json.loads(self._state.read_text(encoding="utf-8"))
            self.validator, self.total = str(state["validator"]), state["total"]
            self.name, self.is_whole = str(state["name"]), bool(state["is_whole"])
        except (OSError, ValueError, TypeError, KeyError):  # nothing, or cut short by a power loss
            self.remove()

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.content.stat().st_size if self.content.exists() else 0

    def begin(self, *, validator: str, total: int | None, name: str) -> None:
        """Note what is known of the whole, before its bytes come."""
        self.validator, self.total, self.name, self.is_whole = validator, total, name, False
        self._save()

    def finish(self) -> None:
        """All bytes are here."""
        self.is_whole = True
        self._save()

    def remove(self) -> None:
        """Start anew."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.validator, self.total, self.name, self.is_whole = "", None, "", False

    def _save(self) -> None:
        known = {"validator": self.validator, "total": self.total, "name": self.name}
        write_json(self._state, known | {"is_whole": self.is_whole})
