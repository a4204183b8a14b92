"A grid of trainings and tests: here, side by side, and on a real Slurm, which this test installs and starts where it may."

import dataclasses
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest

from conftest import ROOT, cli
from inr_assr.faces.grid import StudyRun, note, perform, places_of, standing
from inr_assr.faces.launch import study_by, study_report
from inr_assr.foundations.errors import InputError
from inr_assr.testing.results import read_rows

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
    with pytest.raises(InputError, match="done with other settings .options: .*Choose another folder"):
        study_by(other)
    assert {file: file.read_bytes() for file in before} == before
    assert set(standing(settings)["state"]) == {"done"}  # nothing was lost


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
