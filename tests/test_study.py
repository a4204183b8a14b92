"A grid of trainings and tests: here, side by side, and on a real Slurm, which this test installs and starts where it may."

import dataclasses
import json
import os
import re
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pandas as pd
import psutil
import pytest

from conftest import ROOT, cli
from inr_assr.faces.grid import StudyRun
from inr_assr.faces.runner import TestRun, TrainRun, test_by, train_by
from inr_assr.faces.standing import note, perform, places_of, standing
from inr_assr.faces.launch import study_by, study_report
from inr_assr.foundations.errors import InputError
from inr_assr.testing.results import read_rows
from inr_assr.testing.statistics import method_names
from inr_assr.training.runs import RunFolder

TINY = ["encoder.blocks=1", "encoder.features=8", "decoder.hidden=[16]", "LTE.width=16", "recipe.patch=12"]


def study(photos, folder, **more) -> StudyRun:
    return StudyRun(
        data=[str(photos)],
        benchmarks=[str(photos)],
        scales=["2"],
        profile="ours",
        options=TINY,
        device="cpu",
        folder=str(folder),
        notebooks=str(ROOT / "nbs" / "runs"),
        **{"epochs": 2, "iterations": 2, "batch": 2, **more},
    )


def values(settings: StudyRun) -> pd.DataFrame:
    rows = read_rows(f"{settings.folder}/runs")
    keys = ["run", "image", "scale", "metric"]
    return rows[[*keys, "weights", "value"]].sort_values(keys).reset_index(drop=True)


def test_a_study_goes_on_where_it_was_killed_and_says_what_failed(photos, tmp_path):
    settings = study(photos, tmp_path / "study", decoders=["LIIF"], epochs=30, iterations=30)
    folder = Path(settings.folder)
    words = ["--data", photos, "--benchmarks", photos, "--scales", 2, "--profile", "ours", "--device", "cpu"]
    words += ["--folder", folder, "--notebooks", settings.notebooks, "--decoders", "LIIF", "--side", 2]
    words += ["--epochs", 30, "--iterations", 30, "--batch", 2, *(x for option in TINY for x in ("--option", option))]
    running = subprocess.Popen(
        [shutil.which("inr-assr"), "study", *map(str, words)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    log = None
    while log is None or len(pd.read_csv(log)) < 2:
        time.sleep(0.05)
        assert running.poll() is None, running.stdout.read()
        log = next(folder.rglob("log.csv"), None)
    os.killpg(running.pid, signal.SIGKILL)  # and everything it had started
    running.wait()
    for _ in range(100):  # what it had started takes a moment to die
        seen = dict(standing(settings)[["run", "state"]].itertuples(index=False))
        if seen["TrainSimple_EDSR_LIIF_seed0"] != "running":
            break
        time.sleep(0.1)
    assert seen["TrainSimple_EDSR_LIIF_seed0"] == "stopped" and 2 <= len(pd.read_csv(log)) < 30
    before = pd.read_csv(log)

    done = cli("study", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert before.equals(pd.read_csv(log).iloc[: len(before)]) and len(pd.read_csv(log)) == 30
    assert (folder / "report.html").stat().st_size > 10_000 and len(values(settings)) == 2 * 6 * 3
    done = cli("study", *words)
    assert done.returncode == 0 and "2 of 2 runs are done already" in done.stdout

    failing = dataclasses.replace(settings, folder=str(tmp_path / "failing"), valid="nowhere")
    place, job = list(places_of(failing).values())[1]
    place.mkdir(parents=True)
    (place / "job.json").write_text(__import__("json").dumps(dataclasses.asdict(job)))
    assert perform(place) == "failed"
    assert "valid: no folder 'nowhere'" in standing(failing)["why"].iloc[1]


def test_a_report_holds_only_what_was_done_as_it_is_asked_for(photos, tmp_path):
    settings = study(photos, tmp_path / "study", decoders=["LIIF", "LTE"], metrics=["psnr_y"])
    places = places_of(settings)
    for name, (place, job) in places.items():  # as if they had been trained and tested, at more than is asked for
        words = ["--benchmark", photos, "--scales", "2,3", "--metrics", "psnr_y,psnr_rgb", "--profile", "ours"]
        done = cli("test", "--bicubic", *words, "--out", place / "rows.csv")
        assert done.returncode == 0, done.stderr
        pd.read_csv(place / "rows.csv").assign(run=name).to_csv(place / "rows.csv", index=False)
        note(place, job, "done")

    def reported(settings) -> pd.DataFrame:
        seen = []
        with mock.patch("inr_assr.views.report.write_report", lambda report, path: seen.append(report.rows)):
            study_report(settings, standing(settings))
        return seen[0]

    rows = reported(settings)
    assert set(rows["run"]) == set(places) and set(rows["scale"]) == {"2"} and set(rows["metric"]) == {"psnr_y"}
    other = dataclasses.replace(settings, options=[*TINY, "LTE.hidden=[8]"])  # another training of one of them
    assert "TrainSimple_EDSR_LTE_seed0" not in set(reported(other)["run"])
    assert list(standing(other)["state"]) == ["done", "done", "other"]
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match=r"done with other settings .options.decoder.hidden: \[8\] wanted, \[16\] .*Choose another folder"):
        study_by(other)
    assert {file: file.read_bytes() for file in before} == before
    assert set(standing(settings)["state"]) == {"done"}  # nothing was lost


FILE = """
title: Two blocks
decoders: [LTE]
seeds: [0, 1]
epochs: 2
iterations: 2
batch: 2
device: cpu
profile: ours
scales: [2]
metrics: [psnr_y]
data: [train]
benchmarks: [train]
options: {encoder.blocks: 1, encoder.features: 8, decoder.hidden: "[16]", LTE.width: 16, recipe.patch: 12}
blocks:
  - name: methods
    decoders: [LIIF-bilinear, LTE]
  - name: widths and data
    data_count: [2, 3, 0]
    seeds: [0]
    options: {LTE.width: 32}
"""
NAMES = {
    "bicubic",
    *(f"TrainSimple_EDSR_{decoder}_seed{seed}" for decoder in ("LIIF-bilinear", "LTE") for seed in (0, 1)),
    *(f"TrainSimple_EDSR_LTE_width32{count}_seed0" for count in ("_n2", "_n3", "")),
}


def words_of(root: str | Path, *more) -> list:
    "A study by its file, with all that is this machine's own as words of the command."
    return ["study", *more, "--data-root", root, "--benchmark-root", root]


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory):
    "An empty place with the workbook's notebooks in it, as the working folder."
    root, before = tmp_path_factory.mktemp("here"), Path.cwd()
    (root / "nbs").symlink_to(ROOT / "nbs")
    os.chdir(root)
    yield root
    os.chdir(before)


@pytest.fixture
def at_once(monkeypatch):
    "Runs in this process and without kernels: their parameters, trainings and tests are the real ones."

    def by_hand(source, output, parameters, quiet=False):
        read, do = (TrainRun, train_by) if source.stem == "train" else (TestRun, test_by)
        do(read.read(parameters))

    def one_by_one(places, side):
        for place in places:
            perform(place)
            yield place

    monkeypatch.setattr("inr_assr.faces.standing.run_notebook", by_hand)
    monkeypatch.setattr("inr_assr.faces.launch.run_here", one_by_one)


@pytest.fixture
def blocks(photos, here, at_once):
    "A study of two blocks, done; its place: study.yaml, data and out."
    if not (here / "out" / "report.html").exists():
        shutil.copytree(photos, here / "data" / "train")
        (here / "study.yaml").write_text(FILE)
        words = words_of("data", "study.yaml", "--folder", "out")
        with pytest.MonkeyPatch.context() as patch:  # interrupted after an epoch of the second training
            save, saved = RunFolder.save, []

            def stop(*all, **more):
                save(*all, **more)
                saved.append(1)
                if len(saved) == 3:
                    raise KeyboardInterrupt

            patch.setattr(RunFolder, "save", stop)
            assert cli(*words).returncode == 130
        told = cli("study", "--folder", "out", "--status", "--side", 2)
        assert told.stdout.count("stopped") == 1 and re.search(r"all +8 +2 +0 +6 ", told.stdout), told.stdout
        assert "with 2 side by side" in told.stdout
        done = cli("study", "--folder", "out")  # goes on
        assert done.returncode == 0 and "2 of 8 runs are done already" in done.stdout, done.stdout + done.stderr
    return here


def test_blocks_of_a_file_are_runs_with_names_of_their_own(blocks):
    assert {path.name for path in (blocks / "out" / "runs").iterdir()} == NAMES
    rows = read_rows(blocks / "out" / "runs")
    assert rows.groupby("run")["weights"].nunique().max() == 1  # nothing shares a name
    assert rows.drop_duplicates("run")["run"].nunique() == len(NAMES)
    methods = set(method_names(rows))
    wide = {f"EDSR-LTE TrainSimple {variant}" for variant in ("width32", "width32 n2", "width32 n3")}
    assert methods == {"bicubic", "EDSR-LTE TrainSimple", "EDSR-LIIF-bilinear TrainSimple", *wide}
    seeds = rows.assign(method=method_names(rows)).groupby("method")["seed"].unique()
    assert sorted(seeds["EDSR-LTE TrainSimple"]) == [0, 1]
    drawn = {}
    for count in ("_n2", "_n3"):
        facts = json.loads((blocks / "out" / "runs" / f"TrainSimple_EDSR_LTE_width32{count}_seed0" / "configuration.json").read_text())
        drawn[count] = facts["data"]
    assert drawn["_n2"].endswith("2 of 5 drawn with seed 0") and drawn["_n3"].endswith("3 of 5 drawn with seed 0")
    page = (blocks / "out" / "report.html").read_text(encoding="utf-8")
    assert "EDSR-LTE TrainSimple width32 n2" in page


def test_a_finished_study_is_done_elsewhere_without_its_weights(blocks, tmp_path):
    "As it comes back from git, on a machine where pictures lie elsewhere."
    subprocess.run(["git", "init", "-q", blocks / "out"], check=True)
    listed = subprocess.run(["git", "ls-files", "-o", "--exclude-standard"], cwd=blocks / "out", capture_output=True, text=True, check=True)
    kept = listed.stdout.splitlines()
    assert len([name for name in kept if name.endswith("rows.csv")]) == len(NAMES)
    assert len([name for name in kept if name.endswith("log.csv")]) == len(NAMES) - 1
    assert {Path(name).suffix for name in kept} <= {".json", ".csv", ".html", ""}, kept
    shutil.rmtree(blocks / "out" / ".git")
    moved, root = tmp_path / "moved", tmp_path / "elsewhere"
    for name in kept:
        (moved / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(blocks / "out" / name, moved / name)
        assert Path(name).suffix == ".html" or not re.search(r'"/\w', (moved / name).read_text()), name
    told = cli("study", "--folder", moved, "--status")
    assert told.returncode == 0, told.stderr
    assert len(re.findall(r"TrainSimple\S+ +done", told.stdout)) == len(NAMES) - 1
    assert re.search(r"all +8 +8 +0 +0 +0 +\S+ +0.0\n", told.stdout), told.stdout
    shutil.copytree(blocks / "data", root)
    again = cli(*words_of(root, blocks / "study.yaml", "--folder", moved))
    assert again.returncode == 0 and "8 of 8 runs are done already" in again.stdout, again.stdout + again.stderr
    assert "width32 n2" in (moved / "report.html").read_text(encoding="utf-8") and not list(moved.rglob("*.pth"))

    picture = next((root / "train").glob("*.png"))
    shutil.copy(next(path for path in (root / "train").glob("*.png") if path != picture), picture)
    before = {path: path.read_bytes() for path in moved.rglob("*") if path.is_file()}
    other = cli(*words_of(root, blocks / "study.yaml", "--folder", moved))
    assert other.returncode == 2 and "done with other settings (data: " in other.stderr, other.stderr
    further = cli(*words_of("data", "study.yaml", "--folder", moved, "--scales", 3))
    assert further.returncode == 2 and "its weights are not here" in further.stderr, further.stderr
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_dry_run_says_what_is_left_and_starts_nothing(blocks, tmp_path):
    words = words_of(blocks / "data", blocks / "study.yaml", "--folder", tmp_path / "new", "--side", 2)
    done = cli(*words, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "7 runs to train" in done.stdout and "with 2 side by side" in done.stdout and "disk: " in done.stdout
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["estimates.json"]
    told = cli(*words, "--status")
    assert "unknown" not in told.stdout and re.search(r"methods +5 +0 +0 +5 +0", told.stdout), told.stdout
    done = cli(*words_of(blocks / "data", blocks / "study.yaml", "--folder", blocks / "out", "--dry-run"))
    assert "0 runs to train" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("decoders: [LTE]", "decoder: [LTE]", "'decoder' is not known. Did you mean 'decoders'?"),
        ("    seeds: [0]", "    seed: [0]", "block 'widths and data': parameter: 'seed' is not known. Did you mean 'seeds'?"),
        ("    seeds: [0]", "    folder: x", "block 'widths and data': folder holds for the whole study"),
        ("name: widths and data", "name: methods", "'methods' is there twice"),
        ("  - name: methods\n    decoders", "  - decoders", "number 1 has no name"),
        ("LTE.width: 32", "LTE.wide: 32", "LTE has no 'wide'"),
        ("epochs: 2", "epochs: two", "epochs: 'two' does not fit"),
        ("epochs: 2", "epochs: 2\nepochs: 3", "'epochs' is there twice"),
        ("blocks:", "blocks: [", "is no YAML file (line"),
        (FILE, "- LTE", "it holds no settings"),
        ("data_count: [2, 3, 0]", "data_count: [all]", "data_count: 'all' does not fit"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path, old, new, told):
    assert old in FILE
    (tmp_path / "study.yaml").write_text(FILE.replace(old, new, 1))
    done = cli(*words_of(tmp_path, tmp_path / "study.yaml", "--folder", tmp_path / "out"))
    assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "out").exists()


LONG = [
    *("--decoders", "LIIF", "--epochs", 200, "--iterations", 30, "--batch", 2, "--scales", 2, "--profile", "ours"),
    *("--side", 2, "--device", "cpu", "--notebooks", ROOT / "nbs" / "runs"),
    *(x for option in TINY for x in ("--option", option)),
]


def begun(words: list, folder: Path, before=lambda: None) -> tuple[subprocess.Popen, list]:
    "A study whose first training has finished an epoch, and all processes below it."
    command = [str(Path(sys.executable).with_name("inr-assr")), "study", *map(str, [*words, "--folder", folder])]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=before)
    while not next(folder.rglob("log.csv"), None):
        time.sleep(0.05)
        assert running.poll() is None, running.stdout.read()
    return running, psutil.Process(running.pid).children(recursive=True)


def test_a_run_notices_that_its_study_is_gone(tmp_path):
    code = (
        "import os, signal, subprocess, sys, time\n"
        "run = 'from inr_assr.faces.launch import end_with_parent as e; e(); import subprocess as s; s.run([\"sleep\", \"99\"])'\n"
        "child = subprocess.Popen([sys.executable, '-c', run], stdin=subprocess.PIPE)\n"
        "import psutil\n"
        "while not (below := psutil.Process(child.pid).children()): time.sleep(0.05)\n"
        "print(child.pid, below[0].pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    for _ in range(50):
        alive = [pid for pid in map(int, done.stdout.split()) if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
        if not alive:
            break
        time.sleep(0.1)
    assert len(done.stdout.split()) == 2 and not alive


SLOW = [pytest.param(how, marks=pytest.mark.slow) for how in (signal.SIGKILL, signal.SIGTERM)]


@pytest.mark.parametrize("how", [signal.SIGINT, *SLOW])
def test_children_end_with_the_study(photos, tmp_path, how):
    running, children = begun(["--data", photos, "--benchmarks", photos, *LONG], tmp_path)
    assert len(children) >= 2  # the run, and the kernel of its notebook
    running.send_signal(how)
    running.wait(10)
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive, alive
    told = cli("study", "--folder", tmp_path, "--status")
    assert "stopped" in told.stdout, told.stdout + told.stderr


@pytest.mark.slow
def test_a_dead_kernel_fails_its_run_and_not_the_study(photos, tmp_path):
    running, children = begun(["--data", photos, "--benchmarks", photos, *LONG], tmp_path)
    kernel = next(child for child in children if "ipykernel" in " ".join(child.cmdline()))
    kernel.kill()
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 1 and "LIIF_seed0: failed" in said and "bicubic: done" in said, said
    assert "Traceback" not in said and "kernel" in said.lower()


@pytest.mark.slow
def test_a_full_disk_fails_its_run_and_not_the_study(photos, tmp_path):
    "No file may grow beyond 20 kB: weights do not fit, the small files do."

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    wide = ["--option", "LIIF.hidden=[256,256]", "--data", photos, "--benchmarks", photos, *LONG, "--epochs", 1]
    command = [str(Path(sys.executable).with_name("inr-assr")), "study", *map(str, [*wide, "--folder", tmp_path])]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"LIIF_seed0: failed: .*File too large", done.stdout), done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    "A Slurm of one node, ours alone; stopped at the end."
    pytest.importorskip("submitit", reason="submitit is not installed")
    if os.geteuid() != 0:
        pytest.skip("Slurm can only be started by root")
    if not shutil.which("slurmctld"):
        if not shutil.which("apt-get"):
            pytest.skip("Slurm is not installed, and there is no apt-get to install it")
        found = subprocess.run(
            "apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurm-wlm munge",
            shell=True,
            capture_output=True,
            text=True,
        )
        if not shutil.which("slurmctld"):
            pytest.skip(f"Slurm could not be installed: {found.stderr[-200:]}")
    key, home = Path("/etc/munge/munge.key"), tmp_path_factory.mktemp("slurm")
    if not key.exists():
        key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        shutil.chown(folder, "munge", "munge")
    shutil.chown(key, "munge", "munge")
    pid, socket = (Path("/run/munge") / f"test-{os.getpid()}.{end}" for end in ("pid", "socket"))  # no other's
    subprocess.run(
        ["su", "munge", "-s", "/bin/sh", "-c", f"/usr/sbin/munged --force --pid-file={pid} --socket={socket}"],
        check=True,
    )
    (home / "slurm.conf").write_text(
        f"ClusterName=test\nSlurmctldHost=localhost\nAuthType=auth/munge\nAuthInfo=cred_expire=10,socket={socket}\nSlurmUser=root\nSlurmdUser=root\n"
        f"StateSaveLocation={home}\nSlurmdSpoolDir={home}/spool\nSlurmctldPidFile={home}/ctld.pid\nSlurmdPidFile={home}/d.pid\n"
        f"SlurmctldLogFile={home}/ctld.log\nSlurmdLogFile={home}/d.log\nKillWait=1\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n"
        "SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nReturnToService=2\nSlurmdParameters=config_overrides\n"
        "NodeName=localhost CPUs=2 RealMemory=8000\nPartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
    )
    before, os.environ["SLURM_CONF"] = os.environ.get("SLURM_CONF"), str(home / "slurm.conf")
    subprocess.run(["slurmctld"], check=True)
    time.sleep(2)
    subprocess.run(["slurmd"], check=True)
    for _ in range(60):
        if "idle" in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout:
            break
        time.sleep(0.5)
    else:
        pytest.fail(f"Slurm does not start: {(home / 'ctld.log').read_text()[-500:]}")
    yield home
    subprocess.run(["scancel", "--me"])
    for name in ("d.pid", "ctld.pid"):
        os.kill(int((home / name).read_text()), signal.SIGTERM)
    os.kill(int(pid.read_text()), signal.SIGTERM)
    os.environ.pop("SLURM_CONF")
    if before is not None:
        os.environ["SLURM_CONF"] = before


@pytest.mark.slow
def test_slurm_gives_the_rows_of_this_machine_though_a_run_was_killed_and_requeued(slurm, photos, tmp_path):
    grid = {"decoders": ["LIIF", "LTE"], "seeds": [0, 1], "epochs": 12, "iterations": 30}
    here, there = (study(photos, tmp_path / name, **grid, side=2) for name in ("here", "there"))
    there = dataclasses.replace(there, where="slurm", slurm=["timeout_min=10", "cpus_per_task=1"])
    table, _ = study_by(here)
    assert list(table["state"]) == ["done"] * 5

    requeued = []

    def disturb(line: str) -> None:  # called when the runs are handed over
        print(line)
        if requeued or "handed over" not in line:
            return
        victim = Path(there.folder) / "runs" / "TrainSimple_EDSR_LIIF_seed0"
        log = None
        while log is None or len(pd.read_csv(log)) < 2:
            time.sleep(0.05)
            log = next(victim.rglob("log.csv"), None)
        job = (victim / "slurm_job").read_text()
        subprocess.run(["scontrol", "requeue", job], check=True)
        for _ in range(100):  # it dies with its kernel
            if "stopped" in set(standing(there)["state"]):
                break
            time.sleep(0.1)
        requeued.append(len(pd.read_csv(log)))

    table, page = study_by(there, disturb)
    assert list(table["state"]) == ["done"] * 5, table.to_string()
    assert requeued and 2 <= requeued[0] < 12, requeued
    pd.testing.assert_frame_equal(values(here), values(there))
    assert page.exists()


def test_what_is_not_known_yet_is_not_zero_and_all_runs_are_counted(photos, tmp_path):
    words = ["study", "--data", photos, "--benchmarks", photos, "--decoders", "LIIF", "--smoke", "--folder", tmp_path / "new"]
    told = cli(*words, "--status")
    assert told.returncode == 0, told.stderr
    listed = sum(line.split()[1:2] == ["waiting"] for line in told.stdout.splitlines())
    assert listed == 2 and re.search(rf"all +{listed} +0 +0 +{listed} +0", told.stdout), told.stdout
    assert "left: not known yet" in told.stdout and "not known yet" in told.stdout.split("left:")[0]
    assert not re.search(r"left: 0\.0|NaN", told.stdout)
    assert cli(*words, "--dry-run").returncode == 0
    told = cli(*words, "--status")
    assert re.search(r"left: \d+\.\d minutes", told.stdout) and "not known" not in told.stdout


def test_some_lengths_are_known():
    from inr_assr.faces.standing import left_text

    table = pd.DataFrame({"minutes left": [3.0], "of unknown length": [2]})
    assert left_text(table, 2).startswith("left: at least 3.0 minutes one after another, 1.5 with 2 side by side; 2 runs are of unknown")
    assert left_text(table.drop(columns="of unknown length"), 1) == "left: 3.0 minutes one after another"
