"Folders, the hub and ONNX: what goes out comes back as the same function."

import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from conftest import cli

from inr_assr.decoders.contract import DECODERS
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.files import sha256_of
from inr_assr.models.checkpoints import load_model, read_checkpoint, save_model
from inr_assr.models.exchange import from_pretrained, push_to_hub, save_pretrained
from inr_assr.models.model import build_model
from inr_assr.models.onnxexport import INPUTS, OPSET, check_exportable, example_inputs, export_onnx
from inr_assr.testing.evaluation import fingerprint

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ENCODER = {"blocks": 1, "features": 8}


def small(name: str = "LTE", **policies):
    torch.manual_seed(0)
    return build_model("EDSR", name, ENCODER, DECODERS[name].small, **policies).eval()


def test_folder_round_trip(tmp_path):
    model = small(cell_policy="clip 4")
    folder = save_pretrained(model, tmp_path / "model", licence="MIT", limits="Fails on text", data="T91")
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    for again in (from_pretrained(folder), load_model(folder / "model.safetensors")):
        assert fingerprint(again) == fingerprint(model) and again.describe() == model.describe()
    assert json.loads((folder / "config.json").read_text())["model"] == json.loads(json.dumps(model.describe()))


def test_card_says_what_the_checkpoint_knows(tmp_path):
    recipe = {"name": "TrainSimple", "kind": "Simple", "iterations": 100, "epochs": 5, "batch": 8}
    facts = {"configuration": {"recipe": recipe, "seed": 3, "data": "ab12", "validation": "cd34"}, "epoch": 5}
    facts["records"] = [{"epoch": n + 1, "seconds": 720.0} for n in range(5)]
    values = [{"benchmark": "Set5", "scale": "2", "psnr_y": 37.123, "bicubic": 33.66}]
    folder = save_pretrained(small(), tmp_path, facts, licence="MIT", limits="Fails on text", values=values, data="T91")
    card = (folder / "README.md").read_text()
    for part in ("license: mit", "5 epochs, 500 steps, 1.00 hours", "ab12", "Fails on text.", "| Set5 | 2 | 37.12 | 33.66 |", "T91"):
        assert part in card
    assert sha256_of(folder / "model.safetensors") in card
    assert read_checkpoint(folder / "model.safetensors")["configuration"]["seed"] == 3  # kept in the weights' file too


def test_card_of_little_knowledge_invents_nothing(tmp_path):
    card = (save_pretrained(small(), tmp_path) / "README.md").read_text()
    assert card.count("not stated") >= 4 and "license:" not in card


def test_export_command_writes_a_folder(weights, tmp_path):
    result = cli("export", "--weights", weights, "--folder", tmp_path / "out", "--licence", "MIT")
    assert result.returncode == 0, result.stderr
    assert fingerprint(from_pretrained(tmp_path / "out")) == fingerprint(load_model(weights))
    assert cli("export", "--weights", weights).stderr.startswith("inr-assr: export: give at least one of")


def test_folder_without_weights(tmp_path):
    with pytest.raises(InputError, match=r"holds no model\.safetensors"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["hf:", "hf:name", "hf:a/b/c"])
def test_names_of_the_hub(name):
    result = cli("upscale", "a.png", "-o", "b.png", "--weights", name, "--scale", "2")
    assert result.returncode == 2 and "give hf:owner/name" in result.stderr and result.stderr.count("\n") == 1


def test_missing_packages_are_named(monkeypatch, tmp_path):
    for package in ("huggingface_hub", "onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, package, None)
    for call, extra in (
        (lambda: load_model("hf:owner/name"), "hub"),
        (lambda: push_to_hub(small(), "owner/name"), "hub"),
        (lambda: export_onnx(small(), tmp_path / "x.onnx"), "onnx"),
    ):
        with pytest.raises(InputError, match=rf"pip install inr_assr\[{extra}\]") as error:
            call()
        assert "\n" not in str(error.value)


class Hub(BaseHTTPRequestHandler):
    "The few endpoints that downloads and uploads of small files need."

    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def answer(self, status: int, body: bytes = b"", **headers):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        owner, name, resolve, revision, file = (self.path.split("?")[0].strip("/").split("/", 4) + [""] * 5)[:5]
        files = self.server.files.get(f"{owner}/{name}")
        if resolve != "resolve" or files is None:
            return self.answer(404, X_Error_Code="RepoNotFound")
        if revision not in ("main", COMMIT):
            return self.answer(404, X_Error_Code="RevisionNotFound")
        if file not in files:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
        return self.answer(200, files[file], ETag=f'"{len(files[file])}"', X_Repo_Commit=COMMIT)

    def read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def json(self, **answer):
        self.answer(200, json.dumps(answer).encode(), Content_Type="application/json")

    def do_POST(self):
        import base64

        body, address = self.read(), f"http://127.0.0.1:{self.server.server_port}"
        parts = self.path.split("?")[0].strip("/").split("/")
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization', 'owner')}/{asked['name']}"
            self.server.files.setdefault(name, {})
            return self.json(url=f"{address}/{name}", name=name)
        if "preupload" in parts:
            asked = [file["path"] for file in json.loads(body)["files"]]
            way = {True: "lfs", False: "regular"}
            files = [{"path": p, "uploadMode": way[p.endswith("safetensors")], "shouldIgnore": False} for p in asked]
            return self.json(files=files)
        if "objects" in parts:
            objects = []
            for entry in json.loads(body)["objects"]:
                upload = {"href": f"{address}/store/{entry['oid']}", "header": {}}
                objects.append({**entry, "authenticated": True, "actions": {"upload": upload}})
            return self.json(transfer="basic", objects=objects)
        if "commit" in parts:
            files = self.server.files["/".join(parts[2:4])]
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.server.store[value["oid"]]
            return self.json(success=True, commitOid=COMMIT, commitUrl=f"{address}/{'/'.join(parts[2:4])}/commit/{COMMIT}", hookOutput="")
        if "validate-yaml" in parts:
            return self.json(errors=[], warnings=[])
        return self.answer(404)

    def do_PUT(self):
        self.server.store[self.path.rsplit("/", 1)[1]] = self.read()
        self.answer(200)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    "A server on this machine, and an empty cache."
    package = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (inr_assr[hub])")
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.store = {}, {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    yield server, package
    server.shutdown()
    server.server_close()


def test_hub_round_trip(hub, tmp_path):
    server, _ = hub
    model = small()
    address = push_to_hub(model, "owner/lte-small", token="hf_none", licence="MIT", limits="untrained")
    assert COMMIT in address
    assert sorted(server.files["owner/lte-small"]) == ["README.md", "config.json", "model.safetensors"]
    for again in (load_model("hf:owner/lte-small"), from_pretrained("owner/lte-small"), from_pretrained("owner/lte-small", revision="main")):
        assert fingerprint(again) == fingerprint(model) and again.describe() == model.describe()


def closed_port() -> int:
    "A port of this machine at which nobody listens."
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def test_hub_on_the_command_line_and_without_a_net(hub, tmp_path, photos, monkeypatch):
    server, _ = hub
    save_model(small(), tmp_path / "model.safetensors")
    server.files["owner/lte"] = {"model.safetensors": (tmp_path / "model.safetensors").read_bytes()}
    picture = next(iter(sorted(photos.iterdir())))
    words = ("upscale", picture, "-o", tmp_path / "large.png", "--size", "150x150", "--weights")
    assert cli(*words, "hf:owner/lte").returncode == 0 and (tmp_path / "large.png").is_file()
    assert "no such repository" in cli(*words, "hf:owner/none").stderr
    assert "no such revision" in cli(*words, "hf:owner/lte@v9").stderr
    server.files["owner/empty"] = {}
    assert "it holds no model.safetensors" in cli(*words, "hf:owner/empty").stderr
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    assert cli(*words, "hf:owner/lte").returncode == 0  # from the cache
    result = cli(*words, "hf:owner/other")
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "no net, or no answer" in result.stderr


def test_what_cannot_be_onnx_says_why():
    told = {}
    for name in DECODERS:
        try:
            check_exportable(small(name))
        except InputError as error:
            told[name] = str(error)
    assert {"CLIT", "CiaoSR", "GSASR", "LINF"} <= set(told)
    assert all("\n" not in text and text.startswith(f"export: EDSR-{name} cannot be") for name, text in told.items())
    with pytest.raises(InputError, match="windows of"):
        check_exportable(build_model("SwinIR", "LIIF"))
    with pytest.raises(InputError, match="give a model in float32"):
        check_exportable(small().half())


def exportable(name: str) -> bool:
    try:
        check_exportable(small(name))
    except InputError:
        return False
    return True


EXPORTABLE = list(filter(exportable, DECODERS))


def same_by_onnxruntime(model, path):
    import onnx
    import onnxruntime

    opsets = {entry.domain: entry.version for entry in onnx.load(path).opset_import}
    assert opsets[""] == OPSET and len(list(path.parent.iterdir())) == 1  # weights within
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == list(INPUTS)
    for sizes in (((16, 18), (21, 23), 2), ((9, 11), (5, 40), 1), ((12, 8), (30, 21), 3)):
        given = example_inputs(*sizes)
        with torch.no_grad():
            expected = model(*given).numpy()
        answer = session.run(None, {key: value.numpy() for key, value in zip(INPUTS, given, strict=True)})[0]
        assert answer.shape == expected.shape
        assert np.abs(answer - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", [n if n in ("LIIF", "LTE") else pytest.param(n, marks=pytest.mark.slow) for n in EXPORTABLE])
def test_onnx_gives_the_same_function(name, tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed (inr_assr[onnx])")
    model = small(name)
    save_model(model, tmp_path / "weights.pth")
    path = tmp_path / "program" / "model.onnx"
    result = cli("export", "--weights", tmp_path / "weights.pth", "--onnx", path)
    assert result.returncode == 0, result.stderr
    assert f"opset {OPSET}" in result.stdout
    same_by_onnxruntime(model, path)
