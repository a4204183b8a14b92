"Pictures decoded once: several processes at once, a full disk, a killed builder."

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from inr_assr.data.pictures import PictureStore, demo_photo
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.images import save_picture

CODE = "import sys; from inr_assr.data.pictures import PictureStore; print(PictureStore.read(sys.argv[1], keep='disk', cache=sys.argv[2]).fingerprint())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for k in range(12):
        save_picture(demo_photo("coffee")[k : k + 300, k : k + 400], folder / f"{k:02d}.png")
    return folder


def read(folder, cache):
    return PictureStore.read(folder, keep="disk", cache=cache)


def test_several_processes_at_once_make_one_file(folder, tmp_path):
    words = [sys.executable, "-c", CODE, str(folder), str(tmp_path)]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {process.communicate()[0] for process in running}
    assert said == {read(folder, tmp_path).fingerprint() + "\n"} and [p.returncode for p in running] == [0] * 4
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.name[0] != ".") == [".json", ".u8"]


def test_a_killed_builder_leaves_nothing_half_done(folder, tmp_path):
    for wait in (0.0, 0.01, 0.05):
        process = subprocess.Popen([sys.executable, "-c", CODE, str(folder), str(tmp_path)], stdout=subprocess.DEVNULL)
        while process.poll() is None and not list(tmp_path.glob(".*.part*")):
            time.sleep(0.001)
        time.sleep(wait)
        process.kill()
        process.wait()
        for index in tmp_path.glob("*.json"):
            assert index.with_suffix(".u8").exists()
    assert read(folder, tmp_path).fingerprint() == PictureStore.read(folder, keep="memory").fingerprint()


def test_a_full_disk_is_said_before_anything_is_written(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(InputError, match=r"take 0\.0 GB, 0\.0 GB are free in .*INR_ASSR_CACHE names another place"):
        read(folder, tmp_path)
    assert not list(tmp_path.glob("*.u8"))


def test_a_disk_that_fills_up_on_the_way(folder, tmp_path, monkeypatch):
    from inr_assr.data import pictures

    def full(paths):
        for k, picture in enumerate(plain(paths)):
            if k == 5:
                raise OSError(28, "No space left on device")
            yield picture

    plain = pictures.decoded
    monkeypatch.setattr(pictures, "decoded", full)
    with pytest.raises(InputError, match="No space left on device"):
        read(folder, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".u8", ".json")]
    monkeypatch.setattr(pictures, "decoded", plain)
    assert len(read(folder, tmp_path)) == 12


def test_training_from_disk_is_training_from_memory(folder, tmp_path):
    from inr_assr.data.samples import Samples

    stores = read(folder, tmp_path), PictureStore.read(folder, keep="memory")
    one, other = (next(Samples(store, 16, (1, 4), 8).epoch(0, 1)) for store in stores)
    assert (one.image == other.image).all() and (one.target == other.target).all()


def files(cache):
    "The pixels and the index of the one set that is kept."
    (pixels,), (index,) = cache.glob("*.u8"), cache.glob("*.json")
    return pixels, index


def flip(path, place):
    spoiled = bytearray(path.read_bytes())
    spoiled[place] ^= 1
    path.write_bytes(spoiled)


def other_shapes(pixels, index):
    "Height and width exchanged: as many bytes."
    index.write_text(index.read_text().replace("[300, 400]", "[400, 300]"))


def of_the_first_version(pixels, index):
    index.write_text(index.read_text().splitlines()[1])


def of_a_later_version(pixels, index):
    text = '{"pictures": []}'
    index.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}\n")


SPOIL = {
    "no index": lambda pixels, index: index.unlink(),
    "empty index": lambda pixels, index: index.write_bytes(b""),
    "truncated index": lambda pixels, index: index.write_bytes(index.read_bytes()[:200]),
    "garbage index": lambda pixels, index: index.write_bytes(bytes(range(256))),
    "index of another thing": lambda pixels, index: index.write_text("[1, 2]\n"),
    "a flipped bit in the index": lambda pixels, index: flip(index, -40),
    "other shapes": other_shapes,
    "first version": of_the_first_version,
    "later version": of_a_later_version,
    "no pixels": lambda pixels, index: pixels.unlink(),
    "empty pixels": lambda pixels, index: pixels.write_bytes(b""),
    "truncated pixels": lambda pixels, index: pixels.write_bytes(pixels.read_bytes()[:-1]),
    "more pixels": lambda pixels, index: pixels.write_bytes(pixels.read_bytes() + b"\0"),
    "a flipped bit at the start": lambda pixels, index: flip(pixels, 0),
    "a flipped bit in the middle": lambda pixels, index: flip(pixels, pixels.stat().st_size // 2),
    "a flipped bit at the end": lambda pixels, index: flip(pixels, -1),
    "other pixels of that size": lambda pixels, index: pixels.write_bytes(bytes(pixels.stat().st_size)),
}


@pytest.fixture(scope="module")
def kept(folder, tmp_path_factory):
    "A cache with the pictures of `folder`."
    cache = tmp_path_factory.mktemp("kept")
    read(folder, cache)
    return cache


@pytest.mark.parametrize("name", SPOIL)
def test_what_was_spoiled_is_made_again(name, folder, kept, tmp_path):
    truth = PictureStore.read(folder, keep="memory")
    cache = Path(shutil.copytree(kept, tmp_path / "cache"))
    pixels, index = files(cache)
    good = pixels.read_bytes(), index.read_bytes()
    SPOIL[name](pixels, index)
    assert not pixels.exists() or not index.exists() or (pixels.read_bytes(), index.read_bytes()) != good
    found = read(folder, cache)
    assert found.fingerprint() == truth.fingerprint() and found.names == truth.names
    assert all((one == other).all() for one, other in zip(found.pictures, truth.pictures, strict=True))
    assert (pixels.read_bytes(), index.read_bytes()) == good


def test_what_is_whole_is_not_decoded_again(folder, kept, tmp_path, monkeypatch):
    from inr_assr.data import pictures

    cache = Path(shutil.copytree(kept, tmp_path / "cache"))
    monkeypatch.setattr(pictures, "decoded", lambda paths: pytest.fail("decoded again") if paths else iter(()))
    assert len(read(folder, cache)) == 12


def test_several_processes_mend_it_together(folder, kept, tmp_path):
    cache = Path(shutil.copytree(kept, tmp_path / "cache"))
    pixels, index = files(cache)
    good = pixels.read_bytes()
    flip(pixels, len(good) // 3)
    words = [sys.executable, "-c", CODE, str(folder), str(cache)]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert len({process.communicate()[0] for process in running}) == 1 and pixels.read_bytes() == good
    assert [process.returncode for process in running] == [0] * 2


def test_the_lock_is_given_back(folder, tmp_path):
    read(folder, tmp_path)
    (lock,) = tmp_path.glob(".*.lock")
    with FileLock(lock, timeout=0):
        files(tmp_path)[0].write_bytes(b"")
    assert len(read(folder, tmp_path)) == 12


def test_a_cache_that_cannot_be_written(folder, kept, tmp_path, monkeypatch):
    from inr_assr.data import pictures
    from inr_assr.foundations import files as folders

    def refuse(self, *args, **options):
        raise PermissionError(13, "Permission denied")

    cache = Path(shutil.copytree(kept, tmp_path / "cache"))
    monkeypatch.setattr(pictures.FileLock, "acquire", refuse)
    assert len(read(folder, cache)) == 12  # what is there is used
    pixels, index = files(cache)
    flip(pixels, 7)
    with pytest.raises(
        InputError, match=r"^cache: decoded pictures cannot be kept \(Permission denied\) in .* another"
    ):
        read(folder, cache)
    monkeypatch.setattr(folders.os, "access", lambda *args: False)
    with pytest.raises(InputError, match=r"cannot be kept \(no permission to write in .*INR_ASSR_CACHE names another"):
        read(folder, cache)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be kept .*INR_ASSR_CACHE names another"):
        read(folder, tmp_path / "file" / "below")


def test_a_disk_that_loses_what_was_written(folder, tmp_path, monkeypatch):
    from inr_assr.data import pictures

    def lossy(paths, labels, pixels, index):
        plain(paths, labels, pixels, index)
        flip(pixels, 100)

    plain = pictures._write
    monkeypatch.setattr(pictures, "_write", lossy)
    with pytest.raises(InputError, match="what was written reads back as something else"):
        read(folder, tmp_path)


def test_a_picture_changed_in_place_is_another_picture(tmp_path):
    "Name, size and time as before: contents count."
    folder, cache = tmp_path / "photos", tmp_path / "cache"
    for name, level in {"a": 10, "b": 90}.items():
        save_picture(np.full((40, 50, 3), level, np.uint8), folder / f"{name}.bmp")
    before, facts = read(folder, cache), (folder / "a.bmp").stat()
    whole = bytearray((folder / "a.bmp").read_bytes())
    whole[-20] ^= 1
    (folder / "a.bmp").write_bytes(whole)
    os.utime(folder / "a.bmp", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    after = read(folder, cache)
    assert (folder / "a.bmp").stat().st_mtime_ns == facts.st_mtime_ns
    assert after.fingerprint() != before.fingerprint()
    assert after.fingerprint() == PictureStore.read(folder, keep="memory").fingerprint()


def test_a_picture_that_changes_while_it_is_read(folder, tmp_path, monkeypatch):
    from inr_assr.data import pictures

    photos = Path(shutil.copytree(folder, tmp_path / "photos"))
    plain = pictures.decoded

    def meanwhile(paths):
        save_picture(np.zeros((300, 400, 3), np.uint8), photos / "00.png")
        return plain(paths)

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "decoded", meanwhile)
        with pytest.raises(InputError, match="a picture was changed while it was being read"):
            read(photos, tmp_path / "cache")
    shutil.copytree(folder, photos, dirs_exist_ok=True)  # as it was
    truth = PictureStore.read(photos, keep="memory").fingerprint()
    assert read(photos, tmp_path / "cache").fingerprint() == truth


@pytest.mark.parametrize("keep", ("memory", "disk"))
def test_a_fingerprint_names_pixels_and_their_order(keep, tmp_path):
    a, b = (np.full((40, 50, 3), level, np.uint8) for level in (10, 90))
    sets = {
        "ab": {"1.png": a, "2.png": b},
        "ba": {"1.png": b, "2.png": a},  # the same names, in the other order
        "renamed": {"3.png": a, "4.png": b},  # the same pixels
        "turned": {"1.png": a.reshape(50, 40, 3), "2.png": b},  # the same bytes in another shape
        "twice": {"1.png": a, "2.png": a},
    }
    found = {}
    for name, pictures in sets.items():
        for file, picture in pictures.items():
            save_picture(picture, tmp_path / name / "photos" / file)
        options = {"keep": keep, "cache": tmp_path / "cache"}
        found[name] = PictureStore.read(tmp_path / name / "photos", **options).fingerprint()
    assert found["ab"] == found.pop("renamed") and len(set(found.values())) == 4


@pytest.mark.parametrize("keep", ("memory", "disk"))
def test_folders_of_one_name_are_told_apart(keep, tmp_path):
    picture = np.full((40, 50, 3), 10, np.uint8)
    for folder in ("a", "b"):
        save_picture(picture, tmp_path / folder / "photos" / "1.png")
        save_picture(picture[:9], tmp_path / folder / "photos" / "2.png")
    (tmp_path / "b" / "photos" / "1.png").write_bytes(b"no picture")
    folders = [tmp_path / name / "photos" for name in "ab"]
    store = PictureStore.read(folders, 24, keep=keep, cache=tmp_path / "cache")
    assert store.names == ["1"] and (store.pictures[0] == picture).all()
    assert set(store.skipped) == {"a/photos/2.png", "b/photos/1.png", "b/photos/2.png"}
    assert "is not a picture" in store.skipped["b/photos/1.png"]


def test_a_reason_names_the_folder_that_was_asked_for(folder, tmp_path):
    "The copy of a folder is found decoded; what is broken in it lies there, not in the first."
    first = tmp_path / "first"
    shutil.copytree(folder, first)
    (first / "broken.png").write_bytes(b"no picture")
    read(first, tmp_path / "cache")
    second = Path(shutil.copytree(first, tmp_path / "second"))
    store = read(second, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.u8"))) == 1
    assert repr(str(second / "broken.png")) in store.skipped["broken.png"]
    assert store.skipped == PictureStore.read(second, keep="memory").skipped


def test_a_file_that_may_not_be_read_is_left_out_with_its_reason(folder, tmp_path, monkeypatch):
    import builtins

    photos, plain = Path(shutil.copytree(folder, tmp_path / "photos")), builtins.open

    def opened(path, *args, **options):
        if str(path).endswith("03.png"):
            raise PermissionError(13, "Permission denied")
        return plain(path, *args, **options)

    monkeypatch.setattr(builtins, "open", opened)
    for keep in ("memory", "disk"):
        store = PictureStore.read(photos, keep=keep, cache=tmp_path / "cache")
        assert len(store) == 11 and "Permission denied" in store.skipped["03.png"]


def test_a_folder_of_which_nothing_can_be_read_says_so_again(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(b"no picture")
    for _ in range(2):
        with pytest.raises(InputError, match=r"^data: no picture in .* can be used; 1\.png"):
            read(tmp_path / "photos", tmp_path / "cache")
