"Sizes, colours and values at the door: what a header says is what is read, and what is not a picture in [0, 1] is refused."

import math

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import cli
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from inr_assr.data.pairs import partners
from inr_assr.data.pictures import demo_photo
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.images import luma, picture_size, read_alpha, read_picture, to_picture, to_tensor
from inr_assr.foundations.resampling import resize_pillow
from inr_assr.testing.evaluation import Method, evaluate

PHOTO = demo_photo("coffee")[100:148, 200:264]
KINDS = ("png", "jpg", "tif", "webp")
TURNS = {  # how what is stored is made upright, by EXIF orientation
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: p[::-1].swapaxes(0, 1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: p[:, ::-1].swapaxes(0, 1),
}


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def save(picture: np.ndarray, path, orientation: int) -> None:
    options = {"png": {}, "jpg": {"quality": 95}, "tif": {}, "webp": {"lossless": True}}[path.suffix[1:]]
    Image.fromarray(picture).save(path, exif=exif(orientation), **options)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_size_is_that_of_the_picture_as_it_is_read(kind, orientation, tmp_path):
    path = tmp_path / f"photo.{kind}"
    save(PHOTO, path, orientation)
    upright = TURNS[orientation](PHOTO)
    found = read_picture(path)
    assert picture_size(path) == found.shape[:2] == upright.shape[:2]
    assert np.abs(found.astype(int) - upright).mean() < (12 if kind == "jpg" else 1e-9)


@pytest.mark.parametrize("orientation", (0, 9, 65535))
@pytest.mark.parametrize("kind", KINDS)
def test_an_orientation_that_does_not_exist_turns_nothing(kind, orientation, tmp_path):
    save(PHOTO, path := tmp_path / f"photo.{kind}", orientation)
    assert picture_size(path) == read_picture(path).shape[:2] == PHOTO.shape[:2]


@pytest.mark.parametrize("tagged", (False, True))
@pytest.mark.parametrize("kind", KINDS)
def test_an_orientation_in_xmp(kind, tagged, tmp_path):
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    options = {"exif": exif(6)} if tagged else {}
    if kind == "png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
    elif kind == "tif":
        options = {"tiffinfo": ImageFileDirectory_v2()}
        options["tiffinfo"][700], options["tiffinfo"].tagtype[700] = xmp.encode(), 7
        if tagged:
            options["tiffinfo"][0x0112] = 6
    else:
        options["xmp"] = xmp.encode()
    Image.fromarray(PHOTO).save(path := tmp_path / f"photo.{kind}", **options)
    assert picture_size(path) == read_picture(path).shape[:2] == PHOTO.shape[1::-1]


@pytest.mark.parametrize("packed", (None, "tiff_lzw"))
@pytest.mark.parametrize("mode", ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"))
def test_tiff_of_every_mode_is_read_alike_with_and_without_orientation(mode, packed, tmp_path):
    "Pillow maps some uncompressed ones into memory with the sides exchanged, which shears them."
    grey = np.asarray(Image.fromarray(PHOTO).convert("L"))
    deep = {"I;16": grey.astype(np.uint16) * 257, "F": grey.astype(np.float32)}
    stored = Image.fromarray(deep[mode]) if mode in deep else Image.fromarray(PHOTO).convert(mode)
    path, plain = tmp_path / "turned.tif", tmp_path / "plain.tif"
    stored.save(plain, compression=packed)
    for orientation, turn in TURNS.items():
        stored.save(path, exif=exif(orientation), compression=packed)
        assert (read_picture(path) == turn(read_picture(plain))).all(), orientation
        assert picture_size(path) == read_picture(path).shape[:2]


def test_the_transparency_of_a_turned_tiff_lies_as_the_picture_does(tmp_path):
    clear = np.dstack([PHOTO, np.arange(PHOTO[..., 0].size).reshape(PHOTO.shape[:2]) % 256]).astype(np.uint8)
    save(clear, path := tmp_path / "clear.tif", 6)
    assert (read_alpha(path) == TURNS[6](clear)[..., 3]).all()


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_turned_pair_fits(kind, orientation, tmp_path):
    for folder in ("hr", "lr"):
        (tmp_path / folder).mkdir()
    save(PHOTO, tmp_path / "hr" / f"photo.{kind}", orientation)
    Image.fromarray(
        resize_pillow(TURNS[orientation](PHOTO), tuple(n // 2 for n in TURNS[orientation](PHOTO).shape[:2]))
    ).save(tmp_path / "lr" / "photox2.png")
    assert len(partners(tmp_path / "hr", tmp_path / "lr", 2)) == 1
    folders = {"hr_folder": tmp_path / "hr", "lr_folder": tmp_path / "lr"}
    (found,) = evaluate(Method.bicubic(), "Set5", tmp_path, [2], "liif", ["psnr_rgb"], **folders)
    assert found.rows[0]["note"] == "" and 20 < found.rows[0]["value"] < 60


def test_a_damaged_header_gives_no_size_and_no_traceback(tmp_path):
    rng = np.random.default_rng(0)
    for kind in KINDS:
        save(PHOTO, path := tmp_path / f"photo.{kind}", 6)
        whole = path.read_bytes()
        for _ in range(100):
            spoiled = bytearray(whole)
            for place in (*rng.integers(min(len(whole), 300), size=3), *rng.integers(-300, 0, size=2)):
                spoiled[place] = rng.integers(256)
            path.write_bytes(spoiled)
            size = picture_size(path)
            try:
                read = read_picture(path).shape[:2]
            except InputError as error:
                assert str(error).count("\n") == 0
            else:
                assert size in (None, read)


REFUSED = {
    "8 bits": (torch.zeros(3, 4, 4, dtype=torch.uint8), r"torch.uint8 of shape \(3, 4, 4\) does not fit"),
    "several": (torch.zeros(2, 3, 4, 4), r"of shape \(2, 3, 4, 4\) does not fit"),
    "grey": (torch.zeros(1, 1, 4, 4), r"of shape \(1, 1, 4, 4\) does not fit"),
    "NaN": (torch.full((1, 3, 4, 4), math.nan), "values that are not numbers"),
    "infinite": (torch.full((1, 3, 4, 4), math.inf), "values that are not numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_no_picture_is_made_of_what_is_none(name):
    with pytest.raises(InputError, match=REFUSED[name][1]):
        to_picture(REFUSED[name][0])


def test_bytes_have_no_luma():
    with pytest.raises(InputError, match="luma: torch.uint8 does not fit"):
        luma(torch.from_numpy(PHOTO.copy()).permute(2, 0, 1)[None])


def test_a_model_whose_numbers_run_away_is_said_to_have_restored_nothing(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    for broken in (math.nan, math.inf):
        method = Method("broken", lambda image, size, tiling="auto", part=None: torch.full((1, 3, *size), broken))
        for profile in ("liif", "ours"):
            (found,) = evaluate(method, str(tmp_path), tmp_path, [2], profile, ["psnr_rgb", "ssim_y"])
            assert found.picture is None and all(math.isnan(row["value"]) for row in found.rows)
            assert {row["note"] for row in found.rows} == {
                "photo: the restored picture has values that are NaN or infinite"
            }


def test_a_flat_photo_is_tested_and_what_has_no_value_says_why(tmp_path):
    (tmp_path / "flat").mkdir()
    for name, level in {"one": 90, "two": 200}.items():
        Image.fromarray(np.full((64, 72, 3), level, np.uint8)).save(tmp_path / "flat" / f"{name}.png")
    names = ["psnr_y", "fsim", "fsimc", "sr_sim", "vif_p", "psnr_edge", "gmsd"]
    out = tmp_path / "rows.csv"
    words = ["--bicubic", "--benchmark", tmp_path / "flat", "--scales", 2, "--metrics", ",".join(names), "--out", out]
    found = cli("test", *words)
    rows = pd.read_csv(out)
    nan = rows[rows["value"].isna()]
    assert set(nan["metric"]) == {"fsim", "fsimc", "sr_sim", "vif_p", "psnr_edge"} and len(nan) == 10
    assert all(note.startswith(f"{m}: ") and len(note) > 20 for note, m in zip(nan["note"], nan["metric"]))
    assert "fsim: a picture is flat" in found.stdout
    alone = cli("test", *words[:6], "fsim")
    assert "fsim: a picture is flat" in alone.stderr + alone.stdout and alone.returncode != 0


def test_to_tensor_and_back_keeps_every_level():
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert (to_picture(to_tensor(levels)) == levels).all()
