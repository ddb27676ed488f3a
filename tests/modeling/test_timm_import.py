import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def run(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_timm_is_imported_without_the_compiler_which_is_there_for_who_wants_it() -> None:
    run(
        "import sys\n"
        "from stages.modeling.timm_import import import_timm\n"
        "network = import_timm().create_model('test_vit', num_classes=0).eval()\n"
        "assert not [name for name in sys.modules if name.startswith('torch._dynamo')]\n"
        "import torch\n"
        "compiled = torch.compile(lambda x: x + 1, backend='eager')\n"
        "assert compiled(torch.zeros(1)) == 1\n"
        "assert network(torch.zeros(1, 3, 160, 160)).shape == (1, 64)\n"
    )


def test_timm_is_imported_as_it_is_where_the_compiler_is_there_already() -> None:
    run(
        "import torch._dynamo\n"
        "real = torch._dynamo\n"
        "from stages.modeling.timm_import import import_timm\n"
        "import_timm()\n"
        "import sys\n"
        "assert sys.modules['torch._dynamo'] is real\n"
    )
