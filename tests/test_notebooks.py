"Every notebook of the book runs as a test: its cells assert what its text says."

import json
import multiprocessing

import pytest

from conftest import ROOT

NOTEBOOKS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "nbs").rglob("*.ipynb")
    if ".ipynb_checkpoints" not in path.parts and path.parent.name != "runs"
)

# A process of its own for each: a notebook registers the classes that it defines, and must not lend them to the next.
# The server has the large libraries loaded, so that a new process costs little.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["torch", "pandas", "matplotlib.pyplot", "skimage", "nbdev.test", "papermill"])


def run(notebook: str) -> None:
    import matplotlib
    from nbdev.test import test_nb

    matplotlib.use("Agg")
    passed, _ = test_nb(ROOT / notebook, skip_flags=["slow", "gpu"], basepath=ROOT)
    raise SystemExit(0 if passed else 1)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_notebook(notebook):
    process = SERVER.Process(target=run, args=(notebook,))
    process.start()
    process.join()
    assert process.exitcode == 0, f"{notebook} failed; its traceback stands in the captured output"


def test_a_failing_notebook_fails(tmp_path):
    "The check itself: a wrong assertion in a cell must not pass."
    source = json.loads((ROOT / NOTEBOOKS[0]).read_text())
    source["cells"][-1] = {
        "cell_type": "code",
        "id": "wrong",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "source": ["assert 1 == 2"],
    }
    (tmp_path / "wrong.ipynb").write_text(json.dumps(source))
    process = SERVER.Process(target=run, args=(str(tmp_path / "wrong.ipynb"),))
    process.start()
    process.join()
    assert process.exitcode == 1


def test_there_are_notebooks():
    assert len(NOTEBOOKS) > 30


# nbs/index.ipynb and nbs/study.ipynb are pages: they export nothing
@pytest.mark.parametrize("notebook", [n for n in NOTEBOOKS if n.count("/") > 1 and "/tutorials/" not in n])
def test_each_notebook_tests_what_it_exports(notebook):
    cells = json.loads((ROOT / notebook).read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    exported = [source for source in sources if source.startswith("#| export")]
    checks = [source for source in sources if source not in exported and ("assert " in source or "test_" in source)]
    assert exported and checks
    lines = sum(len(source.splitlines()) for source in exported)
    assert lines <= 400, f"{lines} exported lines hold more than one idea"
