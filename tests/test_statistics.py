"The statistics keep their word: what they find on made data with a known effect, and what they do not find where there is none."

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from inr_assr.foundations.errors import InputError
from inr_assr.metrics.contract import METRICS, Metric
from inr_assr.testing.estimates import detectable, estimate
from inr_assr.testing.results import COLUMNS, read_rows, write_rows
from inr_assr.testing.statistics import all_comparisons, compare, compare_all, holm
from inr_assr.views.comparison import comparison_table

KINDS, COUNTS = ("normal", "heavy-tailed", "skewed"), (5, 14, 100)


@pytest.fixture(autouse=True)
def no_collections(monkeypatch):
    "statsmodels collects garbage at each correction, which takes long beside torch."
    monkeypatch.setattr("gc.collect", lambda: 0)


def drawn(kind, shape, generator):
    "Mean 0, standard deviation 1."
    if kind == "skewed":
        return generator.exponential(size=shape) - 1
    return generator.normal(size=shape) if kind == "normal" else generator.standard_t(3, size=shape) / np.sqrt(3)


def off(rate, trials):
    "How far the share found in so many trials strays from its true rate, in 999 of 1000 cases."
    return 3.29 * (rate * (1 - rate) / trials) ** 0.5


def in_batches(make, trials, margin=0.05, **more):
    "Estimates of many made experiments; `make(count)` gives values of A and B, (count, runs, pictures)."
    parts = [estimate(*make(500), margin, resamples=999, seed=k, **more) for k in range(trials // 500)]
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}


def pictures(kind, n, effect=0.0, sd=1.0, seed=0):
    "One run each: differences with a known mean and standard deviation."
    generator = np.random.default_rng([seed, n, KINDS.index(kind)])
    return lambda count: (effect + sd * drawn(kind, (count, 1, n), generator), np.zeros((count, 1, n)))


def trainings(kind, n, runs, effect=0.0, seed_sd=0.02, seed=0):
    "Several runs: seeds, pictures that a method likes or not (0.08 dB), and a rest (0.03 dB)."
    generator = np.random.default_rng([seed, n, KINDS.index(kind)])

    def make(count):
        likes = effect + 0.08 * drawn(kind, (count, 1, n), generator)
        a, b = (
            seed_sd * generator.normal(size=(count, s, 1)) + 0.03 * generator.normal(size=(count, s, n)) for s in runs
        )
        return likes + a, b

    return make


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_found_more_often_than_alpha_where_there_is_nothing(kind, n):
    "Exponential differences of five pictures are the exception, at the rate that the notebook states."
    found = in_batches(pictures(kind, n), trials=3500)
    rate, stated = (found["p"] < 0.05).mean(), 0.087 if (kind, n) == ("skewed", 5) else 0.05
    assert 0.005 < rate <= stated + off(stated, 3500)
    covered = (found["low"] <= 0) & (0 <= found["high"])
    assert (covered == (found["p"] > 0.05)).mean() > 0.999  # the interval and p are one statement


@pytest.mark.parametrize("interval, kind, n, rate", [
    ("t", "normal", 5, 0.050), ("t", "skewed", 5, 0.118), ("t", "skewed", 14, 0.089), ("t", "heavy-tailed", 14, 0.042),
    ("bootstrap-t", "normal", 14, 0.047), ("bootstrap-t", "heavy-tailed", 14, 0.072), ("bootstrap-t", "heavy-tailed", 100, 0.069),
])  # fmt: skip
def test_why_the_default_is_neither_t_nor_the_bootstrap_alone(interval, kind, n, rate):
    found = in_batches(pictures(kind, n, seed=1), trials=3500, interval=interval)
    assert abs((found["p"] < 0.05).mean() - rate) < off(rate, 3500)


@pytest.mark.parametrize("interval, n", [("t", 5), ("t", 14), ("t", 100), ("wider", 5), ("wider", 14), ("wider", 100)])
def test_the_detectable_difference_is_found_in_80_of_100(interval, n):
    whole = np.random.default_rng(0).normal(size=(1, n))
    effect = detectable(whole / whole.std(ddof=1), 0 * whole, interval=interval)
    found = in_batches(pictures("normal", n, effect), trials=3000, interval=interval)
    assert abs((found["low"] > 0).mean() - 0.8) < off(0.8, 3000) + 0.01  # the effect itself comes from 2000 trials


@pytest.mark.parametrize("kind, n, effect, rate", [
    ("normal", 5, 2, 0.822), ("normal", 14, 1, 0.899), ("normal", 100, 0.25, 0.682),
    ("heavy-tailed", 5, 2, 0.861), ("heavy-tailed", 14, 1, 0.872), ("heavy-tailed", 100, 0.25, 0.719),
    ("skewed", 5, 2, 0.975), ("skewed", 14, 1, 0.998), ("skewed", 100, 0.25, 0.732),
    ("skewed", 5, -2, 0.700), ("skewed", 14, -1, 0.620), ("skewed", 100, -0.25, 0.573),
])  # fmt: skip
def test_an_effect_is_found_at_the_stated_rate(kind, n, effect, rate):
    "In standard deviations; the rates come from 20 000 other trials."
    found = in_batches(pictures(kind, n, effect, seed=2), trials=2000)
    right = (found["low"] > 0) if effect > 0 else (found["high"] < 0)
    assert abs(right.mean() - rate) < off(rate, 2000) + 0.005  # the resamples differ, too


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_seeds_and_pictures_together_keep_alpha(kind, n):
    found = in_batches(trainings(kind, n, (3, 3)), trials=3000)
    assert 0.005 < (found["p"] < 0.05).mean() <= 0.05 + off(0.05, 3000)


@pytest.mark.parametrize("runs", [(3, 5), (2, 2), (2, 5)])
def test_unequal_numbers_of_runs_keep_alpha(runs):
    for n in (14, 100):
        assert (in_batches(trainings("normal", n, runs), 2000)["p"] < 0.05).mean() <= 0.05 + off(0.05, 2000)


@pytest.mark.parametrize("runs", [2, 3])
def test_runs_on_one_side_keep_alpha(runs):
    "Against bicubic, which has nothing that a seed could change."
    for seed_sd in (0.02, 0.05):
        make = trainings("normal", 100, (runs, 1), seed_sd=seed_sd)
        found = in_batches(lambda count: (lambda a, b: (a, 0 * b))(*make(count)), 2000)
        assert (found["p"] < 0.05).mean() <= 0.05 + off(0.05, 2000)


def test_one_run_each_finds_methods_that_are_none():
    "What happens without seeds: more than half of all pairs of trainings 'differ' on 100 pictures."
    assert (in_batches(trainings("normal", 100, (1, 1)), 2000)["p"] < 0.05).mean() > 0.45


@pytest.mark.parametrize("runs, rate", [(3, 0.57), (5, 0.86)])
def test_more_seeds_find_more(runs, rate):
    found = in_batches(trainings("normal", 100, (runs, runs), effect=0.05), 3000)
    assert abs((found["low"] > 0).mean() - rate) < off(rate, 3000) + 0.01


@pytest.mark.parametrize(
    "sd, n, rate", [(0.02, 5, 0.995), (0.05, 5, 0.29), (0.05, 14, 0.94), (0.1, 14, 0.17), (0.1, 100, 0.999)]
)
def test_equality_is_shown_at_the_stated_rate(sd, n, rate):
    found = in_batches(pictures("normal", n, 0, sd), 3000, interval="t")
    assert abs((found["equivalence"] < 0.05).mean() - rate) < off(rate, 3000) + 0.01


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_equality_is_not_claimed_of_methods_a_margin_apart(kind, n):
    "More often than alpha only of few and skewed differences, and then at the stated rate."
    rate = {5: 0.125, 14: 0.070}.get(n, 0.05) if kind == "skewed" else 0.05
    for effect in (0.05, -0.05):
        found = in_batches(pictures(kind, n, effect, 0.08), 1500)
        assert (found["equivalence"] < 0.05).mean() <= rate + off(rate, 1500)
        seeds = in_batches(trainings(kind, n, (3, 3), effect), 500)
        assert (seeds["equivalence"] < 0.05).mean() <= 0.05 + off(0.05, 500)


# What is done with rows


def rows_of(values, encoder="EDSR", images=None, **more):
    "Rows of methods, {(decoder, seed): values}, one row a picture."
    return pd.DataFrame(
        dict.fromkeys(COLUMNS, "")
        | {"run": f"{encoder}-{decoder} seed {seed}", "encoder": encoder, "decoder": decoder, "recipe": "Simple"}
        | {"seed": seed, "benchmark": "Set14", "scale": "4", "profile": "ours", "profile_hash": "0af3"}
        | {"image": image, "metric": "psnr_y", "value": value, "seconds": 0.1, "looks": 1}
        | more
        for (decoder, seed), column in values.items()
        for image, value in zip(images or [f"{i:03}" for i in range(len(column))], column, strict=True)
    )


def made(n=14, gain=0.2, runs=(3, 3), seed=0):
    generator = np.random.default_rng(seed)
    level, values = generator.normal(28, 6, n), {}
    for decoder, count, more in zip(("LIIF", "LTE"), runs, (0, gain), strict=True):
        likes = 0.05 * generator.normal(size=n)
        for run in range(count):
            values[decoder, run] = level + more + likes + 0.01 * generator.normal() + 0.03 * generator.normal(size=n)
    return rows_of(values)


A, B = "EDSR-LTE Simple", "EDSR-LIIF Simple"
ONE, TWO = "EDSR-LTE seed 0", "EDSR-LIIF seed 0"


def test_methods_and_checkpoints_from_a_file(tmp_path):
    rows = made()
    for suffix in ("csv", "parquet"):
        write_rows(rows, tmp_path / f"rows.{suffix}")
        again = read_rows(tmp_path / f"rows.{suffix}")
        both = compare(again, A, B), compare(again, ONE, TWO, claim="checkpoints")
        assert both == (compare(rows, A, B), compare(rows, ONE, TWO, claim="checkpoints"))
    methods, checkpoints = both
    assert methods.verdict == "better" and methods.runs == (3, 3) and methods.rank_test() == "several runs"
    assert (
        methods.low < 0.2 < methods.high and "3 against 3 runs" in methods.say() and "checkpoints" not in methods.say()
    )
    assert checkpoints.runs == (1, 1) and "not about methods" in checkpoints.say()
    assert compare(rows, A, B, scale=4, benchmark="Set14") == methods


def test_one_run_is_refused_for_methods_and_unequal_numbers_are_not():
    for runs in ((1, 3), (3, 1), (1, 1)):
        with pytest.raises(InputError, match="cannot speak for the method.*claim='checkpoints'"):
            compare(made(runs=runs), A, B)
    assert compare(made(runs=(2, 5)), A, B).runs == (5, 2)
    unknown = made().assign(seed=pd.NA)
    with pytest.raises(InputError, match="nobody knows whether they are separate trainings"):
        compare(unknown, A, B)
    with pytest.raises(InputError, match="have the same seed 0; keep one"):
        compare(pd.concat([made(), made().query("seed == 0").assign(run=lambda t: t.run + " last")]), A, B)


def test_a_trained_method_against_one_that_is_not():
    rows = made()
    bicubic = rows_of(
        {("bicubic", None): rows.query("run == @ONE").value - 1}, "", recipe="", run="bicubic", seed=pd.NA
    )
    found = compare(pd.concat([rows, bicubic]), A, "bicubic")
    assert found.runs == (3, 1) and found.verdict == "better"
    published = bicubic.assign(run="liif", decoder="LIIF", encoder="RDN", recipe="published")
    with pytest.raises(InputError, match="one run of 'RDN-LIIF published'"):
        compare(pd.concat([rows, published]), A, "RDN-LIIF published")


def test_permuting_pictures_changes_nothing_and_dropping_one_is_counted():
    rows = made()
    whole = compare(rows, A, B)
    assert compare(rows.sample(frac=1, random_state=3), A, B) == whole
    less = compare(rows[~((rows.image == "003") & (rows.run == ONE))], A, B)  # missing in one run of three
    assert (len(less.images), less.unpaired, less.not_finite) == (13, 1, 0) and "1 that not all runs have" in less.say()
    names = rows.assign(image=rows.image.where((rows.decoder != "LTE") | (rows.image != "003"), "other"))
    assert compare(names, A, B).unpaired == 2  # one that only A has, one that only B has
    with pytest.raises(InputError, match="no picture in common"):
        compare(rows.assign(image=rows.decoder + rows.image), A, B)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), None])
def test_values_that_are_not_finite_are_counted(value):
    rows = made()
    rows.loc[(rows.image == "005") & (rows.run == TWO), "value"] = value
    found = compare(rows, A, B)
    assert (len(found.images), found.unpaired, found.not_finite) == (13, 0, 1)
    assert np.isfinite([found.difference, found.low, found.high, found.p, found.mean_a]).all()
    assert "1 without a finite value" in found.say()


def test_identical_checkpoints_are_equivalent():
    rows = made(gain=0)
    copy = rows.query("decoder == 'LIIF'").assign(decoder="copy", run=lambda t: t.run.str.replace("LIIF", "copy"))
    found = compare(pd.concat([rows, copy]), "EDSR-copy seed 0", TWO, claim="checkpoints")
    assert found.verdict == "equivalent" and (found.low, found.high, found.p) == (0, 0, 1)
    assert (found.wins, found.ties, found.losses) == (0, 14, 0) and "not testable (n = 0)" == found.rank_test()
    methods = compare(pd.concat([rows, copy]), "EDSR-copy Simple", B)  # copies say nothing about other seeds
    assert methods.verdict == "undecided" and "no spread between seeds" in methods.say()
    almost = copy.assign(value=copy.value + 1e-6)  # the same sign on every picture, and hidden by every digit
    assert compare(pd.concat([rows, almost]), "EDSR-copy seed 0", TWO, claim="checkpoints").verdict == "equivalent"


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_pictures_decide_nothing(n):
    for claim, a, b in (("methods", A, B), ("checkpoints", ONE, TWO)):
        found = compare(made(n), a, b, claim=claim)
        assert found.verdict == "undecided" and np.isnan([found.low, found.high, found.detectable]).all()
        assert found.p == 1 and found.equivalence == 1
        assert f"on {n} picture" in found.say() and "too few to decide anything" in found.say()
        assert "\n" not in found.say() and "nan" not in found.say() and "inf " not in found.say() and "no interval" in found.say()
    by_t = compare(made(n), ONE, TWO, claim="checkpoints", interval="t")
    assert np.isfinite(by_t.low) == (n > 1)


def test_three_pictures_have_an_interval_that_knows_how_few_they_are():
    found = compare(made(3), ONE, TWO, claim="checkpoints")
    spread = np.std(found.differences, ddof=1) / 3**0.5
    assert found.high - found.low >= 2 * 4.30 * spread and "of 3 pictures" in found.say() or found.verdict != "undecided"
    rates = [(in_batches(pictures(kind, 3), 3500)["p"] < 0.05).mean() for kind in ("normal", "heavy-tailed")]
    assert max(rates) <= 0.05


def test_rank_tests_on_five_pictures_are_not_testable():
    assert compare(made(5), ONE, TWO, claim="checkpoints").rank_test() == "not testable (n = 5)"
    assert compare(made(6, gain=1), ONE, TWO, claim="checkpoints").rank_test() == "0.031"


def test_rows_that_cannot_be_compared_are_refused_in_one_line():
    rows = made()
    other = rows.assign(profile_hash="77b1")
    refusals = {
        "ours 0af3 and ours 77b1 cannot be compared": lambda: compare(
            pd.concat([rows[rows.decoder == "LTE"], other]), A, B
        ),
        "more than once; they differ in tiling; keep one": lambda: compare(
            pd.concat([rows, rows.assign(tiling="96")]), A, B
        ),
        "was given LR pictures from files": lambda: compare(
            rows.assign(lr=rows.decoder.map({"LTE": "files", "LIIF": "pillow"})), A, B
        ),
        "has pictures of several weights; keep one": lambda: compare(
            rows.assign(weights=np.where(rows.image == "003", "a1", "b2")), A, B
        ),
        "Did you mean 'EDSR-LIIF Simple'": lambda: compare(rows, A, "EDSR-LIF Simple"),
        "Valid: methods, checkpoints": lambda: compare(rows, A, B, claim="seeds"),
        "Valid: wider, t, bootstrap-t": lambda: compare(rows, A, B, interval="BCa"),
        "'bootstrap-t' knows pictures only": lambda: compare(rows, A, B, interval="bootstrap-t"),
        "margin: -1 does not fit": lambda: compare(rows, A, B, margin=-1),
        "alpha: 0 does not fit": lambda: compare(rows, A, B, alpha=0),
        "benchmark: the rows hold several; name one of Set14, Set5": lambda: compare(
            pd.concat([rows, rows.assign(benchmark="Set5")]), A, B
        ),
        "scale: '3' is not known": lambda: compare(rows, A, B, scale=3),
        "is what it would be compared to": lambda: compare(rows, A, A),
        "profile: 'liif' is not known": lambda: compare(rows, A, B, profile="liif"),
    }
    for message, call in refusals.items():
        with pytest.raises(InputError) as error:
            call()
        assert message in str(error.value) and "\n" not in str(error.value)
    assert compare(pd.concat([rows, other]), A, B, profile="77b1").profile_hash == "77b1"


def test_an_unlike_test_is_said():
    found = compare(made().assign(looks=lambda t: np.where(t.decoder == "LTE", 8, 1)), A, B)
    assert "tested unlike each other (looks: 8 against 1)" in found.say()


def test_lower_can_be_better(monkeypatch):
    "A metric without unit needs a margin, and its sign turns."
    monkeypatch.setattr(METRICS, "_entries", METRICS._entries | {})
    monkeypatch.setattr(METRICS, "_aliases", METRICS._aliases | {})
    METRICS.register("wrongness")(Metric("wrongness", lambda a, b: a, "", "lower", "RGB", "made up"))
    rows = made().assign(metric="wrongness", value=lambda t: t.value / 100)
    with pytest.raises(InputError, match="margin: wrongness is not in dB"):
        compare(rows, A, B, "wrongness")
    found = compare(rows, A, B, "wrongness", margin=0.001)
    assert found.difference > 0 and found.verdict == "worse" and found.losses == 14 and " dB" not in found.say()


def test_small_and_sure_is_better_but_said_to_be_small():
    found = compare(made(100, gain=0.03, seed=4), ONE, TWO, claim="checkpoints")
    small = replace(found, p=1e-4, difference=0.02, low=0.01, high=0.03, equivalence=1e-3)
    assert small.verdict == "better" and "though by less than 0.05 dB" in small.say()
    assert replace(small, difference=0.004).verdict == "equivalent"  # two printed digits hide it
    assert replace(small, difference=0.004, equivalence=0.4).verdict == "undecided"


def test_holm_over_all_comparisons_of_a_table():
    found = compare(made(), ONE, TWO, claim="checkpoints")
    corrected = holm([replace(found, p=p) for p in (0.01, 0.04, 0.03, 0.2)])
    assert np.allclose([c.corrected("p") for c in corrected], [0.04, 0.09, 0.09, 0.2])
    assert all(c.comparisons == 4 and "Holm over 4" in c.say() for c in corrected)
    rows = pd.concat([made().assign(scale=s, benchmark=b) for s in ("2", "4") for b in ("Set5", "Set14")])
    table = compare_all(rows, B)
    assert len(table) == 4 and (table.comparisons == 4).all() and (table.p_holm >= table.p).all()
    assert len(compare_all(rows, claim="checkpoints", scale=2, benchmark="Set5")) == 15
    assert holm([]) == [] and len(all_comparisons(rows, B, scale="4")) == 2


def test_a_table_of_equal_methods_holds_its_word():
    "Four methods, six comparisons: some difference is found in 5 of 100 tables, not in 20."
    generator, trials = np.random.default_rng(5), 1000
    values = 0.1 * generator.normal(size=(trials, 4, 1, 14))
    pairs = [(i, j) for i in range(4) for j in range(i)]
    found = [estimate(values[:, i], values[:, j], 0.05, resamples=999) for i, j in pairs]
    one = compare(made(), ONE, TWO, claim="checkpoints")
    any_found = alone = 0
    for k in range(trials):
        table = [replace(one, p=float(f.p[k]), equivalence=1.0, difference=float(f.difference[k])) for f in found]
        alone += any(c.verdict != "undecided" for c in table)
        any_found += any(c.verdict != "undecided" for c in holm(table))
    assert any_found / trials <= 0.05 + off(0.05, trials)
    assert alone / trials > 0.1  # what Holm is for


def test_the_table_of_several_runs_and_the_one_of_single_checkpoints():
    rows = made(runs=(3, 4), gain=0.5)
    bicubic = rows_of(
        {("bicubic", None): rows.query("run == @ONE").value - 1}, "", recipe="", run="bicubic", seed=pd.NA
    )
    rows = pd.concat([bicubic, rows])
    methods = comparison_table(rows)
    assert methods.data["runs"].tolist() == ["1", "3", "4"] and "Single checkpoints" not in methods.words
    assert methods.data.loc[A, ["Wilcoxon", "against the best"]].tolist() == ["several runs", "best"]
    single = comparison_table(rows.query("seed != 2 and seed != 3"), ONE, claim="checkpoints")
    assert len(single.data) == 5 and single.data.index[0] == ONE
    assert "Single checkpoints: nothing is said about methods" in single.words and "over all 10" in single.words
    five = comparison_table(rows[rows.image < "005"])
    assert "Set14 x4 is too small for tests of signs and ranks: 5 pictures" in five.words
    with pytest.raises(InputError, match="one run of 'EDSR-LIIF Simple' cannot speak for the method"):
        comparison_table(rows.query("run != 'EDSR-LIIF seed 1' and run != 'EDSR-LIIF seed 2'"))
