import json
from pathlib import Path
from typing import Any

from stages.config.params import Params
from stages.config.paths import Paths
from stages.weights import make_weights


def test_initial_weights_say_what_kind_they_are_or_from_which_file(
    tiny_params: dict[str, Any], tmp_path: Path
) -> None:
    paths = Paths(tmp_path)
    folder = paths.weights("drawn")
    scaling = {"kind": "meta"}
    tiny_params["weights"] |= {
        "drawn": {"model": "cnn3", "source": {"kind": "random", "path": "stages/modeling"}},
        "brought": {
            "model": "tf_efficientnet_lite0",
            "source": {"kind": "package", "path": "stages/modeling/packages.py"},
        },
        "given": {
            "model": "cnn3",
            "source": {"kind": "file", "path": str(folder), "scaling": scaling},
        },
    }
    params = Params.model_validate(tiny_params)
    for name, said in (("drawn", "random"), ("given", str(folder)), ("brought", "package")):
        make_weights(params, name, paths)
        meta = json.loads((paths.weights(name) / "meta.json").read_text(encoding="utf-8"))
        assert (meta["started_from"], meta["model"]) == (said, params.weights[name].model)
    assert (meta["licence"], meta["knows"]["n"]) == ("Apache-2.0", 50_000)  # of the package
    assert (paths.weights("given") / "model.safetensors").read_bytes() == (
        folder / "model.safetensors"
    ).read_bytes()
