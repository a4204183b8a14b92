"LR files of the right size and the wrong contents: mirrored, turned, shifted, flat, with colours exchanged; and LR of one's own."

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import cli, shared

from inr_assr.data.downloads import check
from inr_assr.data.pairs import BICUBIC, GAIN, SURE, check_contents, inner_psnr, read_pair
from inr_assr.data.pictures import DEMO_PHOTOS, demo_photo
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.images import read_picture, save_picture
from inr_assr.foundations.resampling import resize_matlab, resize_pillow
from test_benchmarks import NAMES, found, root, small  # noqa: F401

CLEAR = (0, 2)  # photos with contrast everywhere, unlike the rocket in its sky
WRONG = {
    "mirrored left to right": lambda lr: lr[:, ::-1],
    "mirrored top to bottom": lambda lr: lr[::-1],
    "turned by 180 degrees": lambda lr: lr[::-1, ::-1],
    "with red and blue exchanged": lambda lr: lr[..., ::-1],
    "shifted by a pixel or more": lambda lr: np.roll(lr, (1, -1), (0, 1)),
    "show different things": lambda lr: np.full_like(lr, 128),
}
OWN = {
    "noise": lambda lr: np.clip(lr + np.random.default_rng(0).normal(0, 15, lr.shape), 0, 255),
    "blur": lambda lr: (lr + sum(np.roll(lr.astype(float), d, a) for d in (1, -1) for a in (0, 1))) / 5,
    "brightness": lambda lr: np.clip(lr * 0.9 + 5, 0, 255),
}


def spoil(path, how) -> None:
    save_picture(np.ascontiguousarray(how(read_picture(path))).astype(np.uint8), path)


@pytest.mark.parametrize("scale", (2, 3))
@pytest.mark.parametrize("kind", WRONG)
def test_wrong_contents_are_named_by_check_and_by_test(kind, scale, root):  # noqa: F811
    spoil(path := small(root, 1, scale), WRONG[kind])
    ((file, problem),) = found(root)
    assert file == path.name and NAMES[1] in problem
    assert kind in problem
    done = cli("test", "--bicubic", "--benchmark", "Set5", "--data", root, "--scales", scale, "--metrics", "psnr_y")
    assert done.returncode == 1 and "over 4 pictures" in done.stdout and f"left out: {NAMES[1]}: LR: {path.name!r}" in done.stdout


@pytest.mark.parametrize("kind", OWN)
def test_lr_of_ones_own_is_tested_with_a_note(kind, root, tmp_path):  # noqa: F811
    for k in CLEAR:
        spoil(small(root, k), OWN[kind])
    problems = found(root)
    assert [file for file, _ in problems] == [small(root, k).name for k in CLEAR]
    assert all("is no bicubic reduction of" in problem for _, problem in problems)
    words = ("test", "--bicubic", "--benchmark", "Set5", "--data", root, "--scales", "2", "--metrics", "psnr_y", "--out", tmp_path / "rows.csv")
    for _ in range(2):  # measured, and measured before
        done = cli(*words)
        assert done.returncode == 0 and "left out" not in done.stdout and "pictures" in done.stdout, done.stdout
        assert "note: LR: " in done.stdout and "is no bicubic reduction of" in done.stdout and "1 more LR files" in done.stdout


def test_a_pair_of_real_files_has_no_note(root):  # noqa: F811
    done = cli("test", "--bicubic", "--benchmark", "Set5", "--data", root, "--scales", "2,3", "--metrics", "psnr_y")
    assert done.returncode == 0 and "note: LR" not in done.stdout
    assert read_pair(root / f"Set5/HR/{NAMES[0]}.png", small(root, 0), 2).note == ""


@pytest.mark.parametrize("scale", (2, 4))
def test_any_antialiased_bicubic_is_sure_and_no_sampling_is_refused(scale):
    for name in list(DEMO_PHOTOS)[:4]:
        hr = demo_photo(name)[:256, :256]
        size = 256 // scale
        for kernel in (resize_pillow, resize_matlab):
            assert _said(hr, kernel(hr, (size, size))) == ""
            assert inner_psnr(resize_pillow(hr, (size, size)), kernel(hr, (size, size))) > SURE
        for first in (0, scale - 1):  # nearest pixels, almost half a pixel aside
            lr = np.ascontiguousarray(hr[first::scale, first::scale])
            assert _said(hr, lr) == "" or "is no bicubic reduction" in _said(hr, lr)


def _said(hr, lr) -> str:
    return check_contents(Path("hr.png"), hr, Path("lr.png"), lr)


def test_what_cannot_be_told_is_not_told():
    ramp = np.broadcast_to(np.linspace(100, 110, 96).astype(np.uint8)[:, None, None], (96, 96, 3)).copy()
    lr = resize_matlab(ramp, (48, 48))
    for other in (lr, np.roll(lr, 1, 1), lr[:, ::-1]):  # the same picture
        assert _said(ramp, np.ascontiguousarray(other)) == ""
    for size in (1, 2, 5):
        hr = demo_photo("coffee")[: 2 * size, : 2 * size]
        assert _said(hr, resize_matlab(hr, (size, size))) == ""


@pytest.mark.parametrize("scale", (2, 4))
def test_the_margin_on_real_pictures(scale):
    own, gains = [], []
    for name in ("Set5", "Set14"):
        for path in sorted(shared("data", name, "HR").iterdir()):
            lr = read_picture(shared("data", name, "LR_bicubic", f"X{scale}", f"{path.stem}x{scale}.png"))
            hr = np.ascontiguousarray(read_picture(path)[: lr.shape[0] * scale, : lr.shape[1] * scale])
            reduced = resize_pillow(hr, lr.shape[:2])
            own.append(inner_psnr(reduced, lr))
            wrong = [np.roll(lr, 1, 0), np.roll(lr, 1, 1), lr[::-1], lr[:, ::-1]]
            gains.append(own[-1] - max(inner_psnr(reduced, other) for other in wrong))
            assert _said(hr, lr) == ""
            for other in wrong:
                with pytest.raises(InputError, match="mirrored|shifted|different things"):
                    _said(hr, np.ascontiguousarray(other))
    assert min(own) > SURE + 3 and min(gains) > 20 * GAIN and BICUBIC < SURE


def test_set5_as_a_stranger_spoilt_it(tmp_path):
    shutil.copytree(shared("data", "Set5"), tmp_path / "Set5", copy_function=shutil.copy)
    folder = tmp_path / "Set5/LR_bicubic/X2"
    for name, kind in (("baby", "mirrored left to right"), ("head", "show different things"), ("woman", "shifted by a pixel or more")):
        (folder / f"{name}x2.png").chmod(0o644)
        spoil(folder / f"{name}x2.png", WRONG[kind])
    assert list(check("Set5", tmp_path)["file"]) == ["babyx2.png", "headx2.png", "womanx2.png"]
