"Known weights are fetched once, by checksum, from the first address that has them; without a net that is one line."

import shutil
import socket
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import cli, shared
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.files import sha256_of
from inr_assr.models import checkpoints


class Quiet(SimpleHTTPRequestHandler):
    asked = []

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args): ...


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_fetched_once_and_checked(site, weights, tmp_path, monkeypatch):
    folder, address = site
    shutil.copy(weights, folder / "right.pth")
    (folder / "wrong.pth").write_bytes(b"something else")
    known = {
        "file": "small.pth",
        "sha256": sha256_of(weights),
        "about": "",
        "addresses": [f"{address}/none.pth", f"{address}/wrong.pth", f"{address}/right.pth"],
    }
    monkeypatch.setenv("INR_ASSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(checkpoints.WEIGHTS._entries, "edsr-baseline-liif", known)
    Quiet.asked.clear()
    assert checkpoints.load_model("edsr-baseline-liif").name == "EDSR-LTE"
    assert list(dict.fromkeys(Quiet.asked)) == ["/none.pth", "/wrong.pth", "/right.pth"]  # in this order
    count = len(Quiet.asked)
    checkpoints.load_model("edsr-baseline-liif")
    assert len(Quiet.asked) == count  # from the cache
    (tmp_path / "cache" / "small.pth").write_bytes(b"damaged on disk")
    checkpoints.load_model("edsr-baseline-liif")
    assert len(Quiet.asked) > count and sha256_of(tmp_path / "cache" / "small.pth") == known["sha256"]


def names_the_way(text: str, folder) -> None:
    "One line with the address, the folder and the name of the file."
    assert "\n" not in text and "no connection" in text, text
    for part in (checkpoints.WEIGHTS["edsr-baseline-liif"]["addresses"][0], str(folder), "'edsr-baseline-liif.pth'"):
        assert part in text, text


@pytest.fixture
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("trouble", ["refused", "no such name", "silent"])
def test_no_net_is_one_line_that_names_the_way_by_hand(trouble, tmp_path, monkeypatch, no_proxy):
    known = checkpoints.WEIGHTS["edsr-baseline-liif"]
    if trouble == "refused":
        known = known | {"addresses": [f"http://127.0.0.1:9/{name}.pth" for name in "abcd"]}
    else:

        def connect(address, timeout=None, **more):
            time.sleep(30 if trouble == "silent" else 0)  # a resolver or a firewall that never answers
            raise OSError("no such name")

        monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setenv("INR_ASSR_CACHE", str(tmp_path))
    monkeypatch.setitem(checkpoints.WEIGHTS._entries, "edsr-baseline-liif", known)
    start = time.monotonic()
    with pytest.raises(InputError, match="could not be had from 4 addresses") as caught:
        checkpoints.load_model("edsr-baseline-liif")
    assert time.monotonic() - start < 5
    names_the_way(str(caught.value), tmp_path)


def test_no_net_on_the_command_line(photos, tmp_path, monkeypatch, no_proxy):
    known = checkpoints.WEIGHTS["edsr-baseline-liif"] | {"addresses": ["http://127.0.0.1:9/a.pth"]}
    monkeypatch.setenv("INR_ASSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(checkpoints.WEIGHTS._entries, "edsr-baseline-liif", known)
    words = (
        "upscale",
        photos / "coffee.png",
        "-o",
        tmp_path / "o.png",
        "--scale",
        2,
        "--weights",
        "edsr-baseline-liif",
    )
    done = cli(*words)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    names_the_way(done.stderr.strip(), tmp_path / "cache")


def test_the_authors_file_is_the_one_that_is_known():
    path = shared("weights", "edsr-baseline-liif.pth")
    assert sha256_of(path) == checkpoints.WEIGHTS["edsr-baseline-liif"]["sha256"]
    model = checkpoints.load_model(path)
    assert model.describe()["decoder_options"]["hidden"] == [256, 256, 256, 256] and model.name == "EDSR-LIIF"


def test_the_authors_file_through_upscale(photos, tmp_path):
    path = shared("weights", "edsr-baseline-liif.pth")
    done = cli(
        "upscale",
        photos / "coffee.png",
        "-o",
        tmp_path / "large.png",
        "--weights",
        path,
        "--scale",
        "1.7",
        "--device",
        "cpu",
    )
    assert done.returncode == 0 and "130x120 -> 221x204" in done.stdout
