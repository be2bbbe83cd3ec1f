"""Exits 0 if the server of this data folder answers that it lives, else 1 with a sentence. Needs Python alone."""

import json
import os
import ssl
import sys
import urllib.request
from pathlib import Path

FOLDER = Path(os.environ.get("FORMICARY_DATA", "/var/lib/formicary"))
SECONDS = 4


def main() -> str | None:
    """None where it lives, else what is wrong. Where it listens it has written down itself; a proxy is never asked."""
    try:
        url = json.loads((FOLDER / "server.json").read_text())["url"]
        trusting = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())  # it is this very machine
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trusting)
        with opener.open(f"{url}/health/live", timeout=SECONDS) as answer:
            return None if answer.status == 200 else f"{url} answered {answer.status}"
    except (OSError, ValueError, KeyError) as error:
        return f"no server answers for {FOLDER}: {error}"


if __name__ == "__main__":
    sys.exit(main())
