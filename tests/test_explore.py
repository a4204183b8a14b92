"The window with handles: in plain Python, and in a real browser where there is one."

import asyncio
import base64
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from inr_assr.data.pictures import demo_photo
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.images import save_picture, to_picture, to_tensor
from inr_assr.models.checkpoints import load_model
from inr_assr.testing.evaluation import Method
from inr_assr.views.explore import explore

LR = demo_photo("astronaut")[30:130, 180:290]


def picture_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def expected(model, scale, window) -> np.ndarray:
    whole = to_picture(model.upscale(to_tensor(LR), scale))
    return whole[window.rows.start : window.rows.stop, window.columns.start : window.columns.stop]


def test_the_sliders_show_the_pixels_of_upscale(weights):
    model = load_model(weights)
    explorer = explore(model, LR, side=96)
    for scale in (1.0, 2.0, 3.3021, 30.0):
        explorer.scale.value = scale
        if scale < 6:  # the whole picture at x30 is not worth the wait
            assert np.array_equal(
                picture_of(explorer.images[model.name].value), expected(model, scale, explorer.window())
            )
        assert f"x{scale:.4g}" in explorer.labels[model.name].value
    explorer.scale.value = 3.3
    for down, across in ((100, 110), (12.3, 71.9)):
        explorer.down.value, explorer.across.value = down, across
        assert np.array_equal(picture_of(explorer.images[model.name].value), expected(model, 3.3, explorer.window()))


def test_a_drag_moves_the_picture_with_the_hand(weights):
    explorer = explore(load_model(weights), LR, scale=4, centre=(50, 55), side=96)
    before = {name: picture_of(image.value) for name, image in explorer.images.items()}
    explorer.moves.value = "one 10 -6 0"
    for name, picture in before.items():
        after = picture_of(explorer.images[name].value)
        same = np.abs(after[:-6, 10:].astype(int) - picture[6:, :-10]).max()
        assert same <= (1 if name == "bicubic" else 0), name
    explorer.moves.value = "one 10 -6 -400"  # the wheel
    assert explorer.scale.value == 8
    explorer.moves.value = "go 0.5 0.5"
    assert (explorer.down.value, explorer.across.value) == (50, 55)


def test_only_what_is_seen_is_decoded(weights, monkeypatch):
    model, asked = load_model(weights), []
    query = model.decoder.query
    monkeypatch.setattr(
        model.decoder, "query", lambda state, queries: asked.append(queries.shape) or query(state, queries)
    )
    explorer = explore(model, LR, scale=30, side=96)
    assert sum(h * w for h, w in asked) <= (96 + 2 * 48) ** 2  # of 9.9 million
    asked.clear()
    explorer.across.value += 0.1
    assert sum(h * w for h, w in asked) <= 48 * (96 + 2 * 48)


def test_in_a_loop_the_newest_drawing_wins(weights):
    model = load_model(weights)

    async def hurry():
        explorer = explore(model, LR, side=200)
        for scale in (3, 5, 2.5):
            explorer.scale.value = scale
            await asyncio.sleep(0.002)
        first = explorer.task
        explorer.scale.value = 4.5
        await asyncio.sleep(0)
        await explorer.task
        return explorer, first

    explorer, first = asyncio.run(hurry())
    assert first.cancelled()
    assert np.array_equal(picture_of(explorer.images[model.name].value), expected(model, 4.5, explorer.window()))
    assert "..." not in explorer.labels[model.name].value


def test_methods_truth_and_files(weights, tmp_path):
    path = save_picture(LR, tmp_path / "small.png")
    truth = demo_photo("astronaut")[30:130, 180:290].repeat(2, 0).repeat(2, 1)
    explorer = explore({"a": weights, "b": Method.bicubic()}, path, truth=truth, scale=2, side=64)
    assert list(explorer.images) == ["bicubic", "a", "b", "truth"]
    assert np.array_equal(picture_of(explorer.images["b"].value), picture_of(explorer.images["bicubic"].value))
    seen = explorer.window()
    wanted = truth[seen.rows.start : seen.rows.stop, seen.columns.start : seen.columns.stop]
    assert np.array_equal(picture_of(explorer.images["truth"].value), wanted)
    explorer.scale.value = 30
    explorer.scene.eyes["b"].most = 1000
    explorer.scale.value = 29
    assert "give the model itself" in explorer.labels["b"].value
    explorer.shown["a"].value = False
    assert explorer.panels["a"].layout.display == "none"
    assert explorer.still()._repr_jpeg_()[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"scale": 0.9}, "scale: 0.9 does not fit; give a number of at least 1 and at most 30."),
        ({"scale": "large"}, "scale: 'large' does not fit"),
        ({"centre": (0, 111)}, "across: 111 does not fit; give a number of at least 0 and at most 110."),
        ({"side": 31}, "side: 31 does not fit"),
        ({"image": LR[..., 0]}, "picture: uint8 of shape (100, 110) does not fit"),
        ({"image": "nothing.png"}, "picture: no file 'nothing.png'."),
        ({"truth": LR[:50]}, "truth: 110x50 pixels are fewer than the picture's 110x100."),
        ({"methods": "nothing.pth"}, "weights: no file 'nothing.pth'."),
        ({"methods": 3}, "methods: int does not fit"),
        ({"methods": {}}, "methods: none given"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_input_is_one_line(weights, wrong, said):
    with pytest.raises(InputError) as caught:
        explore(**{"methods": weights, "image": LR, **wrong})
    assert said in str(caught.value) and "\n" not in str(caught.value)


END_KERNELS = """async () => {
  const sessions = await (await fetch('/api/sessions')).json();
  const headers = {'X-XSRFToken': document.cookie.match(/_xsrf=([^;]+)/)[1]};
  for (const session of sessions) await fetch('/api/sessions/' + session.id, {method: 'DELETE', headers});
}"""


@pytest.fixture
def browser():
    "Chromium, driven by playwright."
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not chromium:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as browsers:
        opened = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def lab(tmp_path, weights):
    "A JupyterLab of its own with a notebook that explores."
    save_picture(LR, tmp_path / "small.png")
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "python3"}})
    code = f"from inr_assr.views.explore import explore\nexplore({str(weights)!r}, 'small.png', side=200)"
    notebook.cells = [nbformat.v4.new_code_cell(code)]
    nbformat.write(notebook, tmp_path / "look.ipynb")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    places = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "RUNTIME", "DATA")}
    words = ["--no-browser", "--allow-root", "--ServerApp.token=", "--ServerApp.password=", f"--ServerApp.port={port}"]
    with open(tmp_path / "log.txt", "w") as log:
        server = subprocess.Popen(
            [Path(sys.executable).with_name("jupyter"), "lab", *words, f"--ServerApp.root_dir={tmp_path}"],
            cwd=tmp_path,
            env={**os.environ, **places},
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/api", timeout=2)
            break
        except OSError:
            time.sleep(0.25)
    yield address, tmp_path
    server.terminate()
    server.wait(20)


@pytest.mark.slow
def test_in_a_browser(browser, lab, weights):
    "Slider, drag, keys and wheel in JupyterLab; the pixels on the page are those of `upscale`; saved, a figure stays."
    (address, folder), model = lab, load_model(weights)

    def caption() -> str:
        return page.locator(".inr-soft").last.inner_text().splitlines()[0]

    def wait_for(words: str) -> None:
        page.wait_for_function("words => document.querySelector('.inr-soft')?.innerText.includes(words)", arg=words)
        page.wait_for_function("() => !document.body.innerText.includes(' ...')")
        page.wait_for_timeout(500)

    def pixels() -> np.ndarray:
        image = page.locator(".inr-explore .inr-stage img").nth(2)
        read = "async i => btoa(String.fromCharCode(...new Uint8Array(await (await fetch(i.src)).arrayBuffer())))"
        return picture_of(base64.b64decode(image.evaluate(read)))

    def part(scale: float) -> np.ndarray:
        columns, rows = ((int(a), int(b)) for a, b in re.findall(r"(\d+) to (\d+)(?= and| are)", caption()))
        return to_picture(model.upscale(to_tensor(LR), scale))[rows[0] : rows[1], columns[0] : columns[1]]

    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(f"{address}/lab/tree/look.ipynb", wait_until="domcontentloaded")
    page.set_default_timeout(60_000)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    page.wait_for_timeout(2000)
    page.click(".jp-CodeCell .cm-content")
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".inr-explore .inr-stage img")
    wait_for("110x100 to 440x400 pixels")
    assert np.array_equal(pixels(), part(4))
    assert page.locator("img[id^=still-]").is_hidden()
    page.screenshot(path=folder / "start.png")

    page.locator(".inr-explore .noUi-handle").first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    wait_for("110x100 to 462x420 pixels")  # x4.2
    assert np.array_equal(pixels(), part(4.2))

    sheet, before = page.locator(".inr-explore .inr-hand").nth(2), caption()
    box = sheet.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 70, box["y"] + 90, steps=5)
    page.mouse.up()
    page.wait_for_function("words => !document.querySelector('.inr-soft').innerText.includes(words)", arg=before)
    wait_for("110x100 to 462x420 pixels")
    assert np.array_equal(pixels(), part(4.2)) and caption() != before

    sheet.focus()
    for _ in range(4):
        page.keyboard.press("+")
    wait_for("110x100 to 924x840 pixels")  # twice as large
    page.mouse.wheel(0, 400)
    wait_for("110x100 to 462x420 pixels")
    assert np.array_equal(pixels(), part(4.2))
    page.screenshot(path=folder / "end.png")

    page.keyboard.press("Control+s")
    page.wait_for_timeout(2000)
    saved = nbformat.read(folder / "look.ipynb", as_version=4)
    assert "widgets" not in saved.metadata
    page.evaluate(END_KERNELS)
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(f"{address}/lab/tree/look.ipynb?reset", wait_until="domcontentloaded")
    page.locator("img[id^=still-]").wait_for(timeout=60_000)
    page.wait_for_timeout(4000)
    assert "model not found" not in page.locator(".jp-Notebook").inner_text()
    page.screenshot(path=folder / "saved.png")
