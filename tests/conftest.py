"Where the tests find pictures, weights and golden outputs that are too large for the repository."
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("INR_ASSR_SHARED", ROOT.parent / "shared"))


def shared(*parts: str) -> Path:
    "A path among the shared data; the test is skipped, by name, where it is absent."
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not at hand (INR_ASSR_SHARED names the folder)")
    return path
