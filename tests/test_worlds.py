"Several processes come together as asked for or say in one line why not; they take the step of one, and end together."

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("lightning_fabric", reason="Lightning Fabric is not installed")

from conftest import SMALL, cli
from inr_assr.foundations.errors import InputError
from inr_assr.training.processes import check_slurm, launch, processes

WORDS = ["train", *SMALL, "--epochs", 1, "--iterations", 2, "--batch", 4]
JOB = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NNODES": "1"}
STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_NODELIST": "127.0.0.1"}


def without_slurm() -> dict:
    return {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "MASTER_"))}


@pytest.fixture
def slurm(monkeypatch):
    def put(**variables):
        for key in [key for key in os.environ if key.startswith("SLURM_")]:
            monkeypatch.delenv(key)
        for key, value in variables.items():
            monkeypatch.setenv(key, value)

    return put


@pytest.mark.parametrize("variables, said", [
    ({**JOB, "SLURM_NTASKS": "1"}, "srun did not start them"),
    (JOB, "srun did not start them"),
    ({**JOB, "SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "0"}, "srun did not start them"),
    ({**JOB, "SLURM_NTASKS_PER_NODE": "1"}, "srun did not start them"),
    ({**JOB, **STEP, "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}, "srun started 1 task on 1 machine"),
    ({**JOB, **STEP, "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}, "srun started 4 tasks on 1 machine"),
    ({**JOB, **STEP, "SLURM_STEP_NUM_NODES": "2", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "1"},
     "srun started 2 tasks on 2 machines")])  # fmt: skip
def test_a_slurm_job_of_other_tasks_is_one_line(variables, said, photos, tmp_path, slurm):
    slurm(**variables)
    start = time.monotonic()
    done = cli(*WORDS, "--data", photos, "--root", tmp_path, "--devices", 2)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and time.monotonic() - start < 5, done.stderr
    assert done.stderr.startswith("inr-assr: devices: 2 processes are asked for") and said in done.stderr
    assert "Use: srun --nodes=1 --ntasks-per-node=2 " in done.stderr and "#SBATCH" in done.stderr
    assert not list(tmp_path.iterdir())


def test_one_process_in_a_slurm_job_and_a_shell_on_a_node_need_no_srun(photos, tmp_path, slurm):
    slurm(**JOB)
    done = cli(*WORDS, "--data", photos, "--root", tmp_path)
    assert done.returncode == 0, done.stderr
    slurm(**{**JOB, "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "bash"})
    check_slurm(2, 1)


def test_two_machines_are_named_in_the_command(slurm):
    slurm(**JOB)
    with pytest.raises(
        InputError, match="Use: srun --nodes=2 --ntasks-per-node=4 .*#SBATCH --nodes=2 --ntasks-per-node=4"
    ):
        check_slurm(4, 2)


def test_torchrun_with_another_number_is_one_line(monkeypatch):
    for key, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(key, value)
    assert processes() == processes(2) == (2, 1)
    with pytest.raises(
        InputError, match="4 processes are asked for, but torchrun started 2 on each of 1 machines. Use: torchrun"
    ):
        processes(4)


SAY = "from inr_assr.training.processes import launch\nprint(launch({job}, devices=2, device='cpu', wait={wait}))\n"


def port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def start_tasks(tmp_path, code: str, ranks) -> list[subprocess.Popen]:
    "As srun would start them, `srun -n 2`: without a number a node."
    (tmp_path / "task.py").write_text(code)
    env = {**without_slurm(), **JOB, **STEP, "MASTER_PORT": port()}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    rank = lambda n: {"SLURM_PROCID": str(n), "SLURM_LOCALID": str(n), "SLURM_NODEID": "0"}  # noqa: E731
    return [subprocess.Popen([sys.executable, tmp_path / "task.py"], env={**env, **rank(n)}, **pipes) for n in ranks]


def test_two_tasks_of_srun_come_together(tmp_path):
    code = "def job(crew): return crew.world_size\n" + SAY.format(job="job", wait=60)
    tasks = start_tasks(tmp_path, code, (0, 1))
    assert [task.communicate(timeout=60)[0].strip() for task in tasks] == ["2", "2"]


def test_a_process_that_waits_in_vain_ends_in_time_and_in_one_line(tmp_path):
    (task,) = start_tasks(tmp_path, SAY.format(job="print", wait=2), (0,))
    out, error = task.communicate(timeout=60)
    assert task.returncode == 2 and not out and error.count("\n") == 1, error
    assert "2 processes are asked for, but they did not come together at 127.0.0.1:" in error and "within 2 s" in error


def test_what_goes_wrong_in_starting_is_one_line(monkeypatch):
    import lightning_fabric

    monkeypatch.setattr(
        lightning_fabric.Fabric, "launch", lambda *a: (_ for _ in ()).throw(ValueError("Lightning's\nwords"))
    )
    with pytest.raises(InputError, match=r"^devices: 2 processes did not come together \(Lightning's\)$"):
        launch(print, devices=2, device="cpu")


STEPS = """
import sys
import torch
from inr_assr.data.pictures import PictureStore, demo_photo
from inr_assr.data.samples import Samples
from inr_assr.decoders.contract import DECODERS
from inr_assr.training.loop import Learner
from inr_assr.training.processes import launch
from inr_assr.training.recipes import recipe
from inr_assr.training.runs import configure

CASES = [(name, "l1", {}) for name in DECODERS] + [("LINF", "likelihood_then_l1", {})]
CASES += [("CLIT", "l1", {"cascade": 4.0}), ("CLIT", "l1", {"cascade": 2.0})]  # the second level rests: for all, for some

def job(crew):
    store = PictureStore(["coffee", "chelsea"], [demo_photo(n)[:200, :200] for n in ("coffee", "chelsea")])
    for name, loss, more in CASES:
        chosen = recipe("TrainSimple", patch=8, batch=4, loss=loss, clip=1.0)
        words = "EDSR", name, chosen, 0, "", "", {"blocks": 1, "features": 8}, {**DECODERS[name].small, **more}
        found = []
        for crew_, share in ((crew, (crew.global_rank, crew.world_size)), (None, (0, 1))):
            learner, resting = Learner(configure(*words), crew=crew_), []
            for batch in Samples(store, 8, (1, 4), 4).epoch(0, 2, 0, "cpu", share):
                learner.learn(batch, 1e-3)
                resting.append([k for k, p in learner.model.named_parameters() if p.requires_grad and p.grad is None])
            found.append((learner.model.state_dict(), resting))
        (two, resting), (one, wanted) = found
        apart = max((one[key].double() - two[key]).abs().max().item() for key in one)
        assert apart < 2e-5 and resting == wanted, (name, apart, resting, wanted)
        print(name, loss, more, sum(map(len, resting)), flush=True)

launch(job, devices=2, device="cpu")
"""


def test_every_decoder_takes_with_two_processes_the_step_of_one(tmp_path):
    "Parameters without a gradient in a step are left alone, as in one process."
    from inr_assr.decoders.contract import DECODERS

    (tmp_path / "steps.py").write_text(STEPS)
    done = subprocess.run([sys.executable, tmp_path / "steps.py"], capture_output=True, text=True, env=without_slurm())
    assert done.returncode == 0 and not done.stderr, done.stderr
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} == set(DECODERS) and len(lines) == len(DECODERS) + 3
    assert not lines[-2].endswith(" 0")  # one level of CLIT did rest


@pytest.fixture
def pair(photos, tmp_path):
    "Two processes that train, in a session of their own, as a terminal would have them."
    words = [
        Path(sys.executable).with_name("inr-assr"),
        *map(str, WORDS),
        "--epochs",
        "500",
        "--data",
        photos,
        "--root",
        tmp_path,
        "--devices",
        "2",
    ]
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=without_slurm(),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # in the background it is ignored
    )
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def trains(process) -> None:
    assert any(line.startswith("epoch   1") for line in process.stdout)


def started(process) -> list[int]:
    "The processes that it has started, once there are any."
    while not (found := Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    return [int(word) for word in found.split()]


@pytest.mark.parametrize("when, to", [
    ("starting", "the first"), ("training", "all"),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in (("starting", "all"), ("training", "the first")))])  # fmt: skip
def test_interrupted_by_the_keyboard(when, to, pair):
    "Ctrl-C: within three seconds, one line, 130, and nobody is left; while they start, too."
    trains(pair) if when == "training" else started(pair)
    begin = time.monotonic()
    (os.killpg if to == "all" else os.kill)(pair.pid, signal.SIGINT)
    _, error = pair.communicate(timeout=60)  # until the pipes are closed: by all
    assert pair.returncode == 130 and time.monotonic() - begin < 3, error
    assert error.strip() == "inr-assr: interrupted; the same command goes on after the last finished epoch"


def test_a_killed_process_takes_the_other_along(pair):
    trains(pair)
    os.kill(started(pair)[0], signal.SIGKILL)
    _, error = pair.communicate(timeout=60)
    assert pair.returncode == 2 and error.count("\n") == 1, error
    assert "devices: process 2 of 2 has ended (signal 9); the same command goes on" in error


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_first_is_killed_the_others_end_silently(number, pair):
    trains(pair)
    os.kill(pair.pid, number)
    _, error = pair.communicate(timeout=30)  # until the pipes are closed: by all
    assert pair.returncode == -number and not error, error
