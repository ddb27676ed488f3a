import subprocess
import sys

import pytest

DEAR = {"timm", "torchvision", "sklearn", "skimage", "scipy", "matplotlib", "lightning", "dvc"}


@pytest.mark.parametrize("stage", ["train", "weights"])
def test_a_training_stage_starts_with_torch_and_fabric_alone(stage: str) -> None:
    # Fabric first: it looks whether other packages are there, which brings what these bring.
    code = f"""
import sys, torch, lightning_fabric
before = set(sys.modules)
import stages.{stage}
print(*{{name.partition(".")[0] for name in set(sys.modules) - before}})
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "stages" in result.stdout.split()
    assert not DEAR.intersection(result.stdout.split())
