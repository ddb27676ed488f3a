"""timm without torch's compiler, which it and torchvision import and nothing here uses.

Importing the compiler takes 2 s of CPU in each of the many processes of a run; timm itself 0.5 s.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


def import_timm() -> ModuleType:
    """Import timm, where a network of its is needed: a case of cnn3 need not wait for it.

    What imports the compiler later gets the real one.
    """
    if "timm" in sys.modules or COMPILER in sys.modules:
        import timm
    else:
        with _no_compiler():
            import timm
    module: ModuleType = timm
    return module


@contextmanager
def _no_compiler() -> Iterator[None]:
    """Let what is imported meanwhile find an empty compiler.

    timm marks functions that are not to be compiled, as all are then; torchvision asks, when an
    operation of its is called, whether that can be compiled.
    """
    compiler, utils = ModuleType(COMPILER), ModuleType(f"{COMPILER}.utils")
    compiler.__dict__.update(__path__=[], disable=_as_it_is, utils=utils)
    utils.__dict__.update(is_compile_supported=lambda _device: False)
    names = {COMPILER: compiler, f"{COMPILER}.utils": utils}
    sys.modules.update(names)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def _as_it_is(function: Callable[..., Any] | None = None, *_: object, **__: object) -> Any:
    """What `torch._dynamo.disable` is: a decorator, with or without arguments."""
    return _as_it_is if function is None else function
