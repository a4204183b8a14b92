"Pictures decoded once: several processes at once, a full disk, a killed builder."

import shutil
import subprocess
import sys
import time

import pytest

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
