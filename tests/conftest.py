"""What every room's tests share; the larger fixtures are in `fixtures/`."""

import pytest

pytest_plugins = (
    *("repos", "hives", "servers", "buckets", "remotes", "backups", "receivers", "answers", "forges", "mailservers"),
    "otherforges",
    "engines",
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
