"A 2K photo is enlarged in bounded memory: the result and one tile. Peak resident size is read by the operating system."

import subprocess
import sys

import pytest

CODE = """
import sys
import numpy as np, torch
from inr_assr import build_model
from inr_assr.foundations.images import to_tensor
from inr_assr.foundations.memory import taken_memory
height, width, scale = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
torch.manual_seed(0)
# the memory of EDSR-baseline + LIIF (64 features, 580 numbers a query), with fewer layers so that it takes seconds
model = build_model("EDSR", "LIIF", {"blocks": 2}, {"hidden": [64], "ensemble": False})
image = to_tensor(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
model.upscale(image[..., :64, :64], 2)  # libraries are loaded and warm
start, calls = taken_memory(), []
out = model.upscale(image, scale, progress=lambda done, total: calls.append(done))
assert len(calls) > 10 and calls == sorted(calls)
print((taken_memory() - start) / 2**20, *out.shape)
"""


SLOW = [pytest.param(1356, 2040, scale, marks=pytest.mark.slow) for scale in (4, 2.7)]


@pytest.mark.parametrize("height, width, scale", [(1356, 2040, 2), (400, 500, 12), *SLOW])
def test_upscale_stays_under_1500_mb(height, width, scale):
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(height), str(width), str(scale)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    grown, *shape = done.stdout.split()
    assert [int(n) for n in shape] == [1, 3, round(height * scale), round(width * scale)]
    assert float(grown) < 1500, f"{grown} MB above the start"


COMMAND = """
import sys
from inr_assr.faces.cli import main
from inr_assr.foundations.memory import taken_memory
code = main(sys.argv[1:])
print("peak", taken_memory() / 2**30)
raise SystemExit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("memory, limit", [("8GB", 8), ("3GB", 3)])
def test_four_times_a_4k_picture_on_a_budget(tmp_path, memory, limit):
    "EDSR-baseline's and LIIF's widths, so their memory, with fewer layers. The whole process is counted, in GiB."
    import numpy as np
    import torch

    from inr_assr import build_model
    from inr_assr.foundations.images import picture_size, save_picture
    from inr_assr.models.checkpoints import save_model

    torch.manual_seed(0)
    model = build_model("EDSR", "LIIF", {"blocks": 2}, {"hidden": [16]})
    save_model(model, tmp_path / "w.pth")
    save_picture(np.random.default_rng(0).integers(0, 256, (2160, 3840, 3), np.uint8), tmp_path / "4k.png")
    words = ["upscale", "4k.png", "-o", "16k.bmp", "--weights", "w.pth", "--scale", "4", "--memory", memory]
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert picture_size(tmp_path / "16k.bmp") == (8640, 15360)
    assert float(done.stdout.split()[-1]) < limit, done.stdout


PEAK = """
import sys, torch
from inr_assr import build_model
from inr_assr.foundations.memory import taken_memory
torch.set_num_threads(1)
model = build_model("EDSR", sys.argv[1]).eval()
model.upscale(torch.rand(1, 3, 70, 70), 2)
image, start = torch.rand(1, 3, 339, 510), taken_memory()
model.upscale(image, 4)
print((taken_memory() - start) / 1e6)
"""


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["LIIF", "LTE", "LTE+", "MetaSR", "LINF", "SRNO", "HIIF", "OPE", "BTC", "LM-LTE"])
def test_a_2k_picture_takes_300_mb(decoder):
    "EDSR-baseline and each decoder at its published size, 2040x1356 by x4, the result included."
    done = subprocess.run([sys.executable, "-c", PEAK, decoder], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 300, f"{done.stdout} MB above the start"
