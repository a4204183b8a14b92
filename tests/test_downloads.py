"Downloads against a server on this machine: a good one, a slow one, one that breaks off, one that lies, and archives that no one should unpack."

import dataclasses
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from conftest import cli

from inr_assr.data import downloads
from inr_assr.data.benchmarks import BENCHMARKS, TRAINING_SETS
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.files import fetch
from inr_assr.foundations.images import save_picture
from inr_assr.foundations.resampling import resize_matlab

CONTENT = np.random.default_rng(0).bytes(300_000)
RIGHT = hashlib.sha256(CONTENT).hexdigest()


class Site:
    "What a server holds, how it behaves, and what it was asked."

    def __init__(self):
        self.files, self.asked = {}, []
        self.stop_after = None  # bytes, after which a connection breaks off
        self.ranges = True  # does it answer to Range?
        self.stamp = '"1"'  # the ETag
        self.pause = 0.0  # seconds between pieces of 30,000 bytes
        self.breaks = 10**9  # how many answers break off
        self.busy = 0  # how many times it says 503 first

    def handler(site):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *words): ...

            def do_GET(self):
                name, wanted = self.path.lstrip("/"), self.headers.get("Range")
                site.asked.append((name, wanted))
                if name not in site.files:
                    self.send_error(404)
                    return
                if site.busy:
                    site.busy -= 1
                    self.send_error(503)
                    return
                content, start = site.files[name], 0
                if wanted and site.ranges and self.headers.get("If-Range") == site.stamp:
                    start = int(wanted.removeprefix("bytes=").split("-")[0])
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(content) - start))
                if site.stamp:
                    self.send_header("ETag", site.stamp)
                self.end_headers()
                rest, sent = content[start:], 0
                try:
                    for at in range(0, len(rest), 30_000):
                        piece = rest[at : at + 30_000]
                        if site.stop_after is not None and site.breaks > 0 and sent + len(piece) > site.stop_after:
                            site.breaks -= 1
                            self.wfile.write(piece[: site.stop_after - sent])
                            return
                        self.wfile.write(piece)
                        sent += len(piece)
                        time.sleep(site.pause)
                except OSError:
                    pass

        return Handler


@pytest.fixture
def serve():
    "Make servers; each is given as its address and its `Site`."
    servers = []

    def make(**files) -> tuple[str, Site]:
        site = Site()
        site.files = {name.replace("_dot_", "."): content for name, content in files.items()}
        server = ThreadingHTTPServer(("127.0.0.1", 0), site.handler())
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", site

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def test_what_breaks_off_goes_on_where_it_stopped(serve, tmp_path):
    base, site = serve(w=CONTENT)
    site.stop_after, site.breaks = 100_000, 2
    assert fetch("w", [f"{base}/w"], RIGHT, tmp_path).read_bytes() == CONTENT
    first, *asked = [wanted for _, wanted in site.asked]
    starts = [int(wanted.removeprefix("bytes=").rstrip("-")) for wanted in asked]
    assert (
        first is None
        and len(starts) == 2
        and 30_000 < starts[0] <= 100_000
        and starts[0] + 30_000 < starts[1] <= 200_000
    )
    assert not list(tmp_path.glob("*.part*"))


def test_it_goes_on_in_the_next_call_too(serve, tmp_path):
    base, site = serve(w=CONTENT)
    site.stop_after = 100_000
    with pytest.raises(InputError, match="could not be had from 1 addresses"):
        fetch("w", [f"{base}/w"], RIGHT, tmp_path, tries=1)
    kept = (tmp_path / "w.part").stat().st_size
    assert not (tmp_path / "w").exists() and 30_000 < kept <= 100_000
    site.stop_after = None
    assert fetch("w", [f"{base}/w"], RIGHT, tmp_path).read_bytes() == CONTENT
    assert site.asked[-1] == ("w", f"bytes={kept}-")


@pytest.mark.parametrize("change", ["no ranges", "another version", "no version"])
def test_nothing_is_patched_together_from_two_files(serve, tmp_path, change):
    base, site = serve(w=CONTENT[::-1])
    site.stop_after, site.stamp = 100_000, "" if change == "no version" else '"0"'
    with pytest.raises(InputError):
        fetch("w", [f"{base}/w"], "", tmp_path, tries=1)
    site.files["w"], site.stop_after, site.ranges = CONTENT, None, change != "no ranges"
    site.stamp = {"no ranges": '"0"', "another version": '"1"', "no version": ""}[change]
    assert fetch("w", [f"{base}/w"], "", tmp_path).read_bytes() == CONTENT


def test_a_killed_process_goes_on(serve, tmp_path):
    base, site = serve(w=CONTENT)
    site.pause = 0.3
    code = f"from inr_assr.foundations.files import fetch; fetch('w', ['{base}/w'], '{RIGHT}', r'{tmp_path}')"
    process = subprocess.Popen([sys.executable, "-c", code])
    part = tmp_path / "w.part"
    while not (part.exists() and part.stat().st_size > 60_000):
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    process.wait()
    site.pause = 0
    assert fetch("w", [f"{base}/w"], RIGHT, tmp_path).read_bytes() == CONTENT
    assert int(site.asked[-1][1].removeprefix("bytes=").rstrip("-")) >= 60_000


def test_a_slow_server_is_waited_for_and_a_silent_one_is_not(serve, tmp_path):
    slow, site = serve(w=CONTENT)
    site.pause = 0.05
    assert fetch("w", [f"{slow}/w"], RIGHT, tmp_path / "a", seconds=0.5).read_bytes() == CONTENT
    silent, site = serve(w=CONTENT)
    site.pause = 5
    good, _ = serve(w=CONTENT)
    start = time.monotonic()
    found = fetch("w", [f"{silent}/w", f"{good}/w"], RIGHT, tmp_path / "b", seconds=0.3, tries=1)
    assert found.read_bytes() == CONTENT and time.monotonic() - start < 4


def test_a_lie_about_the_checksum_is_refused_and_the_next_address_asked(serve, tmp_path):
    lie, _ = serve(w=CONTENT[:-1] + b"!")
    good, _ = serve(w=CONTENT)
    with pytest.raises(InputError, match="other content than its checksum says"):
        fetch("w", [f"{lie}/w"], RIGHT, tmp_path)
    assert [p for p in tmp_path.iterdir() if not p.name.startswith(".")] == []
    assert fetch("w", [f"{lie}/w", f"{good}/none", f"{good}/w"], RIGHT, tmp_path).read_bytes() == CONTENT
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert fetch("v", [f"{good}/w"], f"md5:{md5}", tmp_path).read_bytes() == CONTENT
    with pytest.raises(InputError):
        fetch("u", [f"{good}/w"], f"md5:{md5[::-1]}", tmp_path)


def test_a_busy_server_is_asked_again_and_no_address_at_all_is_not(serve, tmp_path):
    base, site = serve(w=CONTENT)
    site.busy = 2
    assert fetch("w", [f"{base}/w"], RIGHT, tmp_path).read_bytes() == CONTENT and len(site.asked) == 3
    with pytest.raises(InputError, match=r"from 2 addresses \(HTTPError 404, MissingSchema\)"):
        fetch("v", [f"{base}/none", "somewhere/w"], RIGHT, tmp_path)
    assert len(site.asked) == 4
    done = cli("data", "get", "Set5", "--root", tmp_path / "data", "--cache", tmp_path, "--seconds", 0)
    assert done.returncode == 2 and "seconds: 0" in done.stderr


def test_a_full_disk_is_said_before_it_is_full(serve, tmp_path, monkeypatch):
    base, _ = serve(w=CONTENT)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 10**5))
    with pytest.raises(InputError, match=r"disk: w needs 0\.0 GB more, 0\.0 GB are free"):
        fetch("w", [f"{base}/w"], RIGHT, tmp_path)


# whole sets, through the command


@pytest.fixture(scope="module")
def benchmark_tar(tmp_path_factory) -> bytes:
    "The four classic sets as their archive holds them, with five small pictures in Set5 and one in Set14."
    folder, random = tmp_path_factory.mktemp("pack"), np.random.default_rng(0)
    for name, count in (("Set5", 5), ("Set14", 1)):
        for k in range(count):
            picture = resize_matlab(random.integers(0, 256, (12, 12, 3), np.uint8), (48, 60))
            save_picture(picture, folder / f"benchmark/{name}/HR/p{k}.png")
            for s in (2, 3, 4):
                small = resize_matlab(picture, (48 // s, 60 // s))
                save_picture(small, folder / f"benchmark/{name}/LR_bicubic/X{s}/p{k}x{s}.png")
    (folder / "benchmark/Set5/HR/.DS_Store").write_bytes(b"")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as box:
        box.add(folder / "benchmark", "benchmark")
    return data.getvalue()


def test_get_check_and_list(serve, benchmark_tar, tmp_path):
    base, site = serve(benchmark_dot_tar=benchmark_tar)
    words = ("--root", tmp_path / "data", "--cache", tmp_path / "cache", "--mirror", base)
    done = cli("data", "get", "Set5", *words)
    assert done.returncode == 0, done.stderr
    assert "Terms: none stated" in done.stdout and "Set5: 20 new pictures" in done.stdout and "SHA-256" in done.stdout
    assert cli("data", "check", "Set5", "--root", tmp_path / "data").stdout == "Set5: no problems\n"
    line = "Set5         testing   complete    5 of 5 pictures, LR files at x2, x3, x4\n"
    assert line in cli("data", "list", *words[:2]).stdout
    assert "nothing was lacking" in cli("data", "get", "Set5", *words).stdout
    out = cli("data", "get", "Set14", *words).stdout
    assert "Set14: 4 new pictures" in out and "did not bring all of it" in out and len(site.asked) == 1  # one archive
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["Set14", "Set5"]
    done = cli("data", "check", "Set14", "Set5", "--root", tmp_path / "data")
    assert done.returncode == 1 and "1 pictures, 14 in full" in done.stdout
    for lost in ("HR/p3.png", "LR_bicubic/X3/p0x3.png"):  # one was lost: it comes back
        (tmp_path / "data/Set5" / lost).unlink()
        assert "20 new pictures" in cli("data", "get", "Set5", *words).stdout
        assert cli("data", "check", "Set5", "--root", tmp_path / "data").returncode == 0
    done = cli(
        "test", "--bicubic", "--benchmark", "Set5", "--data", tmp_path / "data", "--scales", "2", "--metrics", "psnr_y"
    )
    assert done.returncode == 0 and "over 5 pictures" in done.stdout


def test_a_page_in_place_of_an_archive_is_not_kept(serve, benchmark_tar, tmp_path):
    portal, _ = serve(benchmark_dot_tar=b"<html>log in</html>" * 100)
    words = ("--root", tmp_path / "data", "--cache", tmp_path / "cache", "--mirror", portal, "--mirror")
    done = cli("data", "get", "Set5", *words, serve(benchmark_dot_tar=benchmark_tar)[0])
    assert done.returncode == 0 and "Set5: 20 new pictures" in done.stdout, done.stderr


def test_what_a_killed_unpacking_left_is_cleared(benchmark_tar, tmp_path):
    (tmp_path / "benchmark.tar").write_bytes(benchmark_tar)  # put there by hand: no address is asked
    old, new = tmp_path / "data" / ".unpacking-old", tmp_path / "data" / ".unpacking-new"
    for folder in (old, new):
        (folder / "Set5").mkdir(parents=True)
    os.utime(old, (0, 0))
    assert cli("data", "get", "Set5", "--root", tmp_path / "data", "--cache", tmp_path).returncode == 0
    assert not old.exists() and new.exists()  # another process may be at work there


def test_an_evil_archive_writes_nothing(serve, tmp_path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as box:
        for name in ("benchmark/Set5/HR/fine.png", "benchmark/Set5/HR/../../../../evil.png"):
            member = tarfile.TarInfo(name)
            member.size = 4
            box.addfile(member, io.BytesIO(b"evil"))
    base, _ = serve(benchmark_dot_tar=data.getvalue())
    words = ("--root", tmp_path / "below" / "data", "--cache", tmp_path / "cache", "--mirror", base)
    done = cli("data", "get", "Set5", *words)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "'benchmark/Set5/HR/../../../../evil.png', which would be written outside" in done.stderr
    assert not list(tmp_path.rglob("*.png")) and not list((tmp_path / "below" / "data").iterdir())


def test_a_damaged_archive_and_no_connection_are_said_in_one_line(serve, benchmark_tar, tmp_path, monkeypatch):
    base, _ = serve(benchmark_dot_tar=benchmark_tar[: len(benchmark_tar) // 2])
    words = ("--root", tmp_path / "data", "--cache", tmp_path / "cache")
    done = cli("data", "get", "Set5", *words, "--mirror", base)
    assert done.returncode == 2 and "benchmark.tar" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "data").rglob("*.png"))
    row = BENCHMARKS["Set5"]
    near = [downloads.Download("benchmark.tar", ("http://127.0.0.1:9/benchmark.tar",), row.downloads[0].places)]
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(InputError) as told:
        monkeypatch.setattr(downloads, "find_set", lambda name: dataclasses.replace(row, downloads=near))
        downloads.get("Set5", tmp_path / "data", cache=tmp_path / "cache", tries=1)
    assert "fetch http://127.0.0.1:9/benchmark.tar elsewhere, put it into" in str(told.value)


def test_what_must_be_had_by_hand_says_how(tmp_path):
    for name in ("Manga109", "CelebA-HQ"):
        done = cli("data", "get", name, "--root", tmp_path)
        assert done.returncode == 2 and BENCHMARKS[name].by_hand in done.stderr


def test_every_row_is_complete():
    for registry in (BENCHMARKS, TRAINING_SETS):
        for name in registry:
            row = registry[name]
            assert row.source and row.terms and (row.downloads or row.by_hand), name
            for download in row.downloads:
                assert all(address.startswith("http") for address in download.addresses) and download.places
                assert len(download.checksum.split(":")[-1]) in (0, 32, 64)
    counts = {name: BENCHMARKS[name].count for name in BENCHMARKS}
    assert counts == {
        "Set5": 5,
        "Set14": 14,
        "B100": 100,
        "Urban100": 100,
        "Manga109": 109,
        "DIV2K": 100,
    } | dict.fromkeys(("CelebA-HQ", "SVT"))
    assert BENCHMARKS["DIV2K"].scales == (2, 3, 4, 6, 12, 18, 24, 30) and BENCHMARKS["DIV2K"].kind == "DIV2K"
    assert all(BENCHMARKS[name].scales == (2, 3, 4, 6, 8, 12) for name in BENCHMARKS if name != "DIV2K")
