"The guide's promise: a new decoder is one notebook, and what is generated from it. Done in a copy of the repository."

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from inr_assr.data.pictures import demo_photo
from inr_assr.foundations.images import save_picture

from conftest import ROOT

BIN = Path(sys.executable).parent
MARK = "# cell of nbs/decoders/36_slopes.ipynb\n"


def cell(source: str) -> dict:
    return {
        "cell_type": "code",
        "id": f"c{abs(hash(source)) % 10**8}",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "source": source,
    }


def contents(folder: Path) -> dict[str, bytes]:
    kept = (path for name in ("nbs", "inr_assr") for path in (folder / name).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept if "__pycache__" not in path.parts}


def test_a_new_decoder_touches_one_notebook(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("nbs", "inr_assr"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    before = contents(tmp_path)

    guide = json.loads((ROOT / "nbs" / "tutorials" / "add_a_decoder.ipynb").read_text())
    sources = ["".join(c["source"]) for c in guide["cells"] if c["cell_type"] == "code"]
    chosen = [source.removeprefix(MARK) for source in sources if source.startswith(MARK)]
    assert len(chosen) == 2
    cells = [cell("#| default_exp decoders.slopes"), *(cell(f"#| export\n{source}") for source in chosen)]
    notebook = {"cells": cells, "metadata": guide["metadata"], "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "nbs" / "decoders" / "36_slopes.ipynb").write_text(json.dumps(notebook))
    subprocess.run([BIN / "nbdev-export"], cwd=tmp_path, check=True, capture_output=True)

    after = contents(tmp_path)
    changed = {name for name in after if after[name] != before.get(name)} | (before.keys() - after.keys())
    generated = {"inr_assr/decoders/slopes.py", "inr_assr/_modidx.py"}
    assert changed == {"nbs/decoders/36_slopes.ipynb"} | generated

    for name in ("coffee", "astronaut"):
        save_picture(demo_photo(name)[100:200, 100:200], tmp_path / "photos" / f"{name}.png")
    words = (
        "train --encoder EDSR --decoder Slopes --recipe TrainSimple --data photos --root runs --option encoder.blocks=1"
    )
    words += " --option encoder.features=8 --option recipe.patch=12 --option recipe.epochs=1 --option recipe.iterations=3 --device cpu"
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from inr_assr.faces.cli import main; sys.exit(main(sys.argv[1:]))",
            *words.split(),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "runs" / "model_states_EDSR_Slopes_Simple_Patch_12_Scale_1_4" / "last.pth").is_file()
    wrong = subprocess.run(
        [sys.executable, "-c", "from inr_assr import build_model; build_model('EDSR', 'Slops')"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "Did you mean 'Slopes'?" in wrong.stderr
