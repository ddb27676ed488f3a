from collections.abc import Iterator

import numpy as np
import pytest

from stages.downloads import web
from tests.downloads.server import Site, serving


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server of 1 MB that nobody could have guessed, and no patience with it."""
    monkeypatch.setattr(web, "WAITS_S", (0.0, 0.0))
    content = np.random.default_rng(0).bytes(1_000_000)
    with serving(Site(content)) as running:
        yield running
