import json
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from stages.deployment.labelled_weights import copy_with_metadata

TENSORS = {"b": torch.arange(5, dtype=torch.float32), "a": torch.tensor([[1, 2]])}


def test_tensors_stay_and_texts_are_read_by_the_library(tmp_path: Path) -> None:
    source, target = tmp_path / "plain.safetensors", tmp_path / "labelled.safetensors"
    safetensors.torch.save_file(TENSORS, source, {"old": "text"})
    texts = {"z": "ends with a tab\t", "a": "Ω <b>", "empty": ""}
    copy_with_metadata(source, target, texts)
    loaded = safetensors.torch.load_file(target)
    assert loaded.keys() == TENSORS.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in TENSORS.items())
    with safetensors.safe_open(target, "pt") as file:
        assert file.metadata() == texts


def test_the_same_texts_give_the_same_bytes_with_aligned_tensors(tmp_path: Path) -> None:
    source = tmp_path / "plain.safetensors"
    safetensors.torch.save_file(TENSORS, source)
    for length in range(9):
        texts = {"k" * length: "v", "a": "b"}
        written = []
        for name in ("one", "two"):
            copy_with_metadata(source, tmp_path / name, texts)
            written.append((tmp_path / name).read_bytes())
        assert written[0] == written[1]
        n_header = int.from_bytes(written[0][:8], "little")
        assert n_header % 8 == 0
        assert list(json.loads(written[0][8 : 8 + n_header])["__metadata__"]) == list(texts)
