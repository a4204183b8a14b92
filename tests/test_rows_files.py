"A rows file that was cut off, edited or spoilt: file and line are named, bad lines are kept beside it, the rest is used, and the exit code says so."

import gzip
import time

import numpy as np
import pandas as pd
import pytest
from conftest import cli

from inr_assr.data.pictures import DEMO_PHOTOS, demo_photo
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.images import save_picture
from inr_assr.testing.results import COLUMNS, KEY, distinguish_runs, means, measured_in, read_rows, write_rows

BENCHMARK = "--data", ".", "--scales", "2", "--metrics", "psnr_y"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "A folder of four photos, and the rows file of bicubic."
    folder = tmp_path_factory.mktemp("rows") / "mine"
    for name in list(DEMO_PHOTOS)[:4]:
        save_picture(demo_photo(name)[60:110, 60:120], folder / f"{name}.png")
    out = folder.parent / "r.csv"
    assert cli("test", "--bicubic", "--benchmark", folder, *BENCHMARK, "--out", out).returncode == 0
    return folder, out.read_bytes()


def field(line: bytes, name: str, value: bytes) -> bytes:
    "A line with another text in one field."
    fields = line.split(b",")
    fields[COLUMNS.index(name)] = value
    return b",".join(fields)


SPOILT = {
    "cut": (lambda line: line[:60], "it has "),
    "cut in the last field": (lambda line: line[:-4], "is cut off"),
    "cut before the last field": (lambda line: line[: line.rindex(b",") + 1], "code '' is cut off"),
    "word": (lambda line: field(line, "value", b"abc"), "value 'abc' is no number"),
    "decimal comma": (lambda line: field(line, "value", b"31,5"), "fields, not"),
    "quoted decimal comma": (lambda line: field(line, "value", b'"31,5"'), "value '31,5' is no number"),
    "empty value": (lambda line: field(line, "value", b""), "value '' is no number"),
    "seed": (lambda line: field(line, "seed", b"1.5"), "seed '1.5' is no whole number"),
    "looks": (lambda line: field(line, "looks", b"many"), "looks 'many' is no whole number"),
    "NUL": (lambda line: field(line, "image", b"\0\0\0"), "bytes that are no text"),
    "no UTF-8": (lambda line: field(line, "image", b"\xff"), "bytes that are no text"),
    "open quote": (lambda line: field(line, "image", b'"x'), "has no partner"),
}


@pytest.mark.parametrize("at", ["middle", "end"])
@pytest.mark.parametrize("way", SPOILT)
def test_a_damaged_line(made, tmp_path, way, at):
    folder, content = made
    lines, out = content.split(b"\n")[:-1], tmp_path / "r.csv"
    k = 2 if at == "middle" else len(lines) - 1
    spoil, reason = SPOILT[way]
    whole, lines[k] = lines[k], spoil(lines[k])
    out.write_bytes(b"\n".join(lines) + (b"\n" if at == "middle" else b""))
    done = cli("table", out)
    assert done.returncode == 1 and f"'{out}' line {k + 1}: " in done.stderr and reason in done.stderr
    assert "| none | bicubic |" in done.stdout and "aside" not in done.stdout
    aside = tmp_path / "r.csv.bad"
    assert aside.read_bytes() == lines[0] + b"\n" + lines[k] + b"\n"
    done = cli("test", "--bicubic", "--benchmark", folder, *BENCHMARK, "--out", out)
    assert done.returncode == 1 and f"line {k + 1}: " in done.stderr and "3 of 4 pictures were measured" in done.stdout
    assert aside.read_bytes() == lines[0] + b"\n" + lines[k] + b"\n"  # kept once
    name = whole.split(b",")[COLUMNS.index("image")].decode()
    assert sorted(read_rows(out)["image"]) == sorted(list(DEMO_PHOTOS)[:4]) and name in set(read_rows(out)["image"])
    assert cli("table", out).returncode == 0  # the file is whole again


def test_every_command_goes_on_and_says_so(made, tmp_path):
    _, content = made
    other = content.replace(b"\nbicubic,", b"\nother,")
    out = tmp_path / "rows.csv"
    out.write_bytes(content + other.split(b"\n", 1)[1] + b"bicubic,,bicu")
    for words in (["table", out], ["compare", out], ["report", out, "--out", tmp_path / "r.html"], ["table", tmp_path]):
        done = cli(*words)
        assert done.returncode == 1 and "line 10: it has 3 fields" in done.stderr, words
    assert (tmp_path / "r.html").exists()


def test_many_damaged_lines_are_kept_and_the_first_are_named(made, tmp_path):
    _, content = made
    out = tmp_path / "r.csv"
    out.write_bytes(content + b"".join(b"torn %d\n" % k for k in range(30)))
    done = cli("table", out)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 11 and "and 20 more lines" in done.stderr
    assert (tmp_path / "r.csv.bad").read_bytes().count(b"torn") == 30


@pytest.mark.parametrize("content", [b"", b"\n", b"header"])
def test_a_file_without_rows(made, tmp_path, content):
    folder, whole = made
    out = tmp_path / "r.csv"
    out.write_bytes(whole.split(b"\n")[0] + b"\n" if content == b"header" else content)
    for words in (["table", out], ["compare", out], ["report", out, "--out", tmp_path / "r.html"]):
        done = cli(*words)
        assert done.returncode == 2 and done.stderr == f"inr-assr: results: '{out}' holds no rows.\n"
    assert cli("test", "--bicubic", "--benchmark", folder, *BENCHMARK, "--out", out).returncode == 0
    assert len(read_rows(out)) == 4


def test_a_file_of_other_columns_is_refused_before_the_work(made, tmp_path):
    folder, _ = made
    out = tmp_path / "r.csv"
    out.write_text("a,b\n1,2\n")
    for words in (["table", out], ["test", "--bicubic", "--benchmark", folder, *BENCHMARK, "--out", out]):
        done = cli(*words)
        assert done.returncode == 2 and "lacks the columns" in done.stderr and len(done.stderr.splitlines()) == 1
    assert out.read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize("missing", ["seconds", "seed", "looks", "note", "lr"])
def test_a_column_that_is_missing(made, tmp_path, missing):
    _, content = made
    (tmp_path / "whole.csv").write_bytes(content)
    pd.read_csv(tmp_path / "whole.csv", dtype=str).drop(columns=missing).to_csv(tmp_path / "r.csv", index=False)
    done = cli("table", tmp_path / "r.csv"), cli("report", tmp_path / "r.csv", "--out", tmp_path / "r.html")
    assert [d.returncode for d in done] == [0, 0] and done[0].stdout == cli("table", tmp_path / "whole.csv").stdout


@pytest.mark.parametrize("way", ["cut", "text", "empty", "value"])
def test_parquet(made, tmp_path, way):
    folder, _ = made
    out = tmp_path / "r.parquet"
    assert cli("test", "--bicubic", "--benchmark", folder, *BENCHMARK, "--out", out).returncode == 0
    table, content = pd.read_parquet(out), out.read_bytes()
    assert cli("table", out).returncode == 0
    out.write_bytes({"cut": content[: len(content) // 2], "text": b"not parquet", "empty": b""}.get(way, content))
    if way == "value":
        table.assign(value="abc").to_parquet(out)
    before = out.read_bytes()
    for words in (["table", out], ["test", "--bicubic", "--benchmark", folder, *BENCHMARK, "--out", out]):
        done = cli(*words)
        assert done.returncode == 2 and "r.parquet" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert out.read_bytes() == before


def test_spreadsheets_leave_a_mark_and_other_line_ends(made, tmp_path):
    _, content = made
    out = tmp_path / "r.csv"
    out.write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    (tmp_path / "plain.csv").write_bytes(content)
    done = cli("table", out)
    assert done.returncode == 0 and done.stdout == cli("table", tmp_path / "plain.csv").stdout


def test_an_older_file_is_of_unknown_pictures(made, tmp_path):
    folder, content = made
    out, new = tmp_path / "r.csv", tmp_path / "new.csv"
    new.write_bytes(content)
    old = pd.read_csv(new, dtype=str, keep_default_na=False).drop(columns=["hr_pixels", "lr_pixels", "code", "kind"])
    old.assign(value="20.5").to_csv(out, index=False)
    done = cli("table", out)
    assert done.returncode == 0 and "20.50" in done.stdout
    assert done.stderr.count("unknown pictures") == 1 and str(out) in done.stderr
    done = cli("test", "--bicubic", "--benchmark", folder, *BENCHMARK, "--out", out)
    assert done.returncode == 0 and "before" not in done.stdout and done.stderr.count("unknown pictures") == 1
    apart = cli("table", out).stdout
    assert "bicubic [pictures unknown]" in apart and "20.50" in apart
    assert f"{means(read_rows(new))['mean'].item():.2f}" in apart
    cli("test", "--bicubic", "--benchmark", folder, *BENCHMARK, "--out", out, "--again")
    again = cli("table", out)
    assert "unknown" not in again.stdout + again.stderr and len(read_rows(out)) == 4


def rows(count: int) -> pd.DataFrame:
    "Rows as a test writes them: runs x scales x pictures x metrics."
    k = np.arange(count)
    table = pd.DataFrame(dict.fromkeys(COLUMNS, ""), index=k)
    return table.assign(run=[f"run {i}" for i in k % 10], benchmark="Set", scale=(k // 10 % 5 + 2).astype(str),
                        image=[f"{i:05d}" for i in k // 50], hr_pixels=[f"{i:012x}" for i in k // 50], metric="psnr_y",
                        value=30 + np.sin(k), seconds=0.1, seed=0, looks=1, profile="liif", code="0123456789")  # fmt: skip


def test_values_are_kept_to_the_bit_and_large_files_are_quick(tmp_path):
    table, path = rows(50_000), tmp_path / "rows.csv"
    write_rows(table, path)
    started = time.process_time()
    again = read_rows(path)
    have = measured_in(path, ["psnr_y"])
    assert time.process_time() - started < 20  # about 3 s on two cores; a file is read at most a few times
    assert (again["value"].to_numpy() == table["value"].to_numpy()).all() and len(again) == 50_000
    assert have(table.iloc[7].to_dict())[0]["value"] == table["value"][7]
    started = time.process_time()
    assert len(means(again)) == 50 and time.process_time() - started < 10


def test_one_measurement_in_two_files_counts_once(tmp_path):
    table = rows(100)
    for name in ("rows_a.csv", "rows_b.csv"):
        write_rows(table, tmp_path / name)
    assert len(read_rows(tmp_path)) == 100
    other = table.assign(value=table["value"] + 1, code="fedcba9876")
    write_rows(other, tmp_path / "rows_b.csv")
    both = read_rows(tmp_path)
    assert len(both) == 200 and both.duplicated(KEY).sum() == 100
    assert set(distinguish_runs(both)["run"]) == {f"run {i} [code {code}]" for i in range(10) for code in ("0123456789", "fedcba9876")}  # fmt: skip
    mean = means(both).groupby("run")["mean"].mean()
    assert np.allclose(mean.filter(like="fedc").to_numpy() - mean.filter(like="0123").to_numpy(), 1)


def test_packed_rows_are_read_and_torn_ones_named(made, tmp_path):
    "Committed studies keep their rows packed."
    plain, packed = tmp_path / "r.csv", tmp_path / "b" / "rows.csv.gz"
    packed.parent.mkdir()
    plain.write_bytes(made[1])
    packed.write_bytes(gzip.compress(made[1]))
    pd.testing.assert_frame_equal(read_rows(packed.parent), read_rows(plain))
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(InputError, match="rows.csv.gz.*cannot be read"):
        read_rows(packed)
