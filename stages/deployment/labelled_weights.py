"""A .safetensors file with text in its header.

The format is 8 bytes of the header's length (little-endian), a JSON header, and the tensors. The
library writes the texts in an order that changes from run to run; here it is theirs.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

LENGTH_BYTES = 8
ALIGNMENT = 8  # of the tensors behind the header, which spaces fill up
METADATA = "__metadata__"


def copy_with_metadata(source: Path, target: Path, metadata: Mapping[str, str]) -> None:
    """Copy a readable file of tensors, with these texts instead of those that it has."""
    with source.open("rb") as tensors, target.open("wb") as labelled:
        length = int.from_bytes(tensors.read(LENGTH_BYTES), "little")
        header = json.loads(tensors.read(length)) | {METADATA: dict(metadata)}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % ALIGNMENT)
        labelled.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        shutil.copyfileobj(tensors, labelled)
