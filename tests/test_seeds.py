"Signs, ranks, intervals that exist, and differences paired by seed: exact where they say so, and calibrated."

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test, rankdata, ttest_1samp

from conftest import ROOT, cli
from inr_assr.testing.estimates import detectable, estimate, sign_tests
from test_statistics import ONE, TWO, A, B, drawn, made, off, rows_of


def one(values, margin=0.05, **more):
    d = np.asarray(values, dtype=float)[None]
    return estimate(d, 0 * d, margin, **more)


# No number stands for 'there is none'


@pytest.mark.parametrize("values", [
    [0] * 7 + [0.01], [0, 0, 0, 0, 0.3, 0.5], [0] * 13 + [1], [0] * 4 + [0.1], [0.1] * 9 + [0.1 + 1e-12], [1e-13, 2e-13, 0, 0],
    [0] * 98 + [0.2, 0.3], [1, 2], [1, 1, 1], [0.1] * 20 + [5],
])  # fmt: skip
@pytest.mark.parametrize("interval", ["wider", "t", "bootstrap-t"])
def test_an_interval_is_of_the_size_of_the_differences_or_is_not_there(values, interval):
    found = one(values, interval=interval)
    reach = 30 * (max(values) - min(values)) + 1e-6
    for end in (found.low, found.high):
        assert np.isnan(end) or abs(end - found.difference) <= reach
    assert np.isnan(found.low) == np.isnan(found.high)
    if interval != "bootstrap-t":
        assert np.isfinite([found.low, found.high, found.p, found.equivalence]).all()
        assert 0 <= found.p <= 1


def test_seven_equal_pictures_and_one_that_hardly_differs_are_equivalent():
    found = one([0] * 7 + [0.01])
    assert found.equivalence < 0.05 and -0.05 < found.low < 0 < found.high < 0.05
    rows = made(8).query("run in (@ONE, @TWO)").copy()
    rows["value"] = 30.0 + 0.01 * ((rows.run == ONE) & (rows.image == "003"))
    said = compare_words(rows)
    assert "equivalent within 0.05 dB" in said and "e+" not in said and len(said) < 400


def compare_words(rows):
    from inr_assr.testing.statistics import compare

    return compare(rows, ONE, TWO, claim="checkpoints").say()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_pictures_are_said_to_be_few_in_words_of_papers(n, tmp_path):
    from inr_assr.testing.results import write_rows

    write_rows(made(n).query("run in (@ONE, @TWO)"), tmp_path / "rows.csv")
    shown = cli("compare", tmp_path / "rows.csv", "--baseline", TWO)
    assert shown.returncode == 0, shown.stderr
    for word in ("endless", "inf", "nan", "e+"):
        assert word not in shown.stdout.replace("information", ""), shown.stdout
    assert "too few" in shown.stdout
    assert ("no interval" in shown.stdout) == (n == 1)


# Intervals that a person believes


def test_five_gains_have_the_interval_that_a_person_believes():
    found = one([1.062, 1.571, 1.568, 0.506, 1.479])
    assert 0.2 < found.low <= 0.668 and 1.807 <= found.high < 2.1 and found.p < 0.05


@pytest.mark.parametrize("n", [4, 5, 6, 7, 8, 14, 30])
def test_real_differences_of_pictures_are_covered(n):
    "Draws from the differences of classic291 on B100 and Set14: on average over them the interval keeps 0.93."
    real, trials = real_differences(), 400
    generator, inside, wide, student = np.random.default_rng(n), [], [], []
    for d in real:
        draw = generator.choice(d, (trials, 1, n))
        found = estimate(draw, 0 * draw, 1, resamples=999)
        inside.append(((found.low <= d.mean()) & (d.mean() <= found.high)).mean())
        t = ttest_1samp(draw[:, 0], 0, axis=-1).confidence_interval()
        wide.append(np.median(found.high - found.low) / np.median(t.high - t.low))
    assert np.mean(inside) >= 0.93 - off(0.93, trials * len(real)) * 2  # trials share their population
    assert np.mean(wide) < 1.3  # of Student's


def real_differences():
    rows = pd.read_csv(ROOT / "outputs/classic291/rows.csv", dtype={"scale": str})
    made = []
    for (_, _), part in rows[rows.benchmark != "Set5"].groupby(["benchmark", "scale"]):
        wide = part.pivot(index="image", columns="run", values="value")
        liif, lte = ([wide[f"EDSR-{name} TrainSimple seed {seed} best"] for seed in (0, 1)] for name in ("LIIF", "LTE"))
        made += [liif[0] - wide["bicubic"], lte[0] - wide["bicubic"], lte[0] - liif[0], liif[1] - liif[0]]
    return [d.to_numpy() for d in made]


def test_the_plain_count_stands_beside_undecided():
    from inr_assr.testing.statistics import compare

    rows = made(5).query("run in (@ONE, @TWO)").copy()
    gains = dict(zip(sorted(set(rows.image)), (0.01, 0.02, 0.9, 0.05, 0.3), strict=True))
    rows["value"] = 30.0 + (rows.run == ONE) * rows.image.map(gains)
    found = compare(rows, ONE, TWO, claim="checkpoints")
    assert found.verdict == "undecided"
    assert "better on 5 of 5 pictures, too few to speak of others" in found.say()


# Ranks and signs


def brute(x):
    "The share of sign patterns whose sum is as far from 0."
    sums = np.abs([np.dot(signs, x) for signs in product((-1, 1), repeat=len(x))])
    return (sums >= abs(np.sum(x)) - 1e-9).mean()


@pytest.mark.parametrize("values, ranks", [
    ([0.125, 0.125, 0.125, 0.25, 0.25, -0.125, 0.375], 0.078125), ([0.2] * 6, 0.03125), ([0.1 + 0.2, 0.3, 0.3, 0.3, 0.3, 0.3], 0.03125),
    ([0.1] * 25, 2 / 2**25),
])  # fmt: skip
def test_the_rank_test_is_exact_with_ties(values, ranks):
    count, p, flips = sign_tests(np.array(values))
    assert count == len(values) and p == ranks
    if len(values) == 25:
        assert flips == ranks


def test_ranks_and_signs_agree_with_all_sign_patterns():
    generator = np.random.default_rng(0)
    for trial in range(60):
        n = int(generator.integers(2, 13))
        values = generator.integers(-4, 6, n) / 8 if trial % 3 else generator.normal(0.1, 1, n).round(2)
        count, ranks, flips = sign_tests(values)
        some = values[values != 0]
        assert count == len(some)
        if len(some) > 1:
            assert ranks == brute(rankdata(np.abs(some)) * np.sign(some))
            assert flips == brute(some)
    some = generator.normal(0.2, 1, 11).round(1)
    some = some[some != 0]
    library = permutation_test((some,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False)
    assert np.isclose(sign_tests(some)[2], library.pvalue)


def test_many_tied_pictures_have_a_p_that_is_close_to_random_sign_patterns():
    generator = np.random.default_rng(1)
    values = generator.integers(-3, 5, 26) / 8
    some = values[values != 0]
    signed = rankdata(np.abs(some)) * np.sign(some)
    drawn_sums = np.abs(generator.choice((-1, 1), (100_000, len(some))) @ signed)
    for n, p in ((len(some), sign_tests(values)[1]), (4 * len(some), sign_tests(np.tile(values, 4))[1])):
        wanted = (drawn_sums >= abs(signed.sum())).mean() if n == len(some) else 0
        assert abs(p - wanted) < 0.01
