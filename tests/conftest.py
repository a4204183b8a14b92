"Where the tests find pictures, weights and golden outputs that are too large for the repository."

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from inr_assr.faces.cli import main

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("INR_ASSR_SHARED", ROOT.parent / "shared"))


def shared(*parts: str) -> Path:
    "A path among the shared data; the test is skipped, by name, where it is absent."
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not at hand (INR_ASSR_SHARED names the folder)")
    return path


def cli(*words) -> SimpleNamespace:
    "Run `inr-assr` in this process (importing torch anew each time would take most of the tests' time)."
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def cli_process(*words) -> subprocess.CompletedProcess:
    "Run `inr-assr` as a user does, in a process of its own."
    return subprocess.run(
        [Path(sys.executable).with_name("inr-assr"), *map(str, words)], capture_output=True, text=True
    )


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    "Six small photos in a folder."
    from inr_assr.data.pictures import DEMO_PHOTOS, demo_photo
    from inr_assr.foundations.images import save_picture

    folder = tmp_path_factory.mktemp("photos")
    for name in list(DEMO_PHOTOS)[:6]:
        save_picture(demo_photo(name)[100:220, 100:230], folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    "A small checkpoint of ours."
    import torch

    from inr_assr.models.checkpoints import save_model
    from inr_assr.models.model import build_model

    torch.manual_seed(0)
    model = build_model("EDSR", "LTE", {"blocks": 1, "features": 8}, {"width": 16, "hidden": [16]})
    return save_model(model, tmp_path_factory.mktemp("weights") / "small.pth")


SMALL = [
    "--encoder",
    "EDSR",
    "--decoder",
    "LTE",
    "--option",
    "encoder.blocks=1",
    "--option",
    "encoder.features=8",
    "--option",
    "decoder.width=16",
    "--option",
    "decoder.hidden=[16]",
    "--option",
    "recipe.patch=12",
    "--device",
    "cpu",
]
SMALL_FOLDER = "model_states_EDSR_LTE_Simple_Patch_12_Scale_1_4"
