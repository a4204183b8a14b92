"Signs, ranks, intervals that exist, and differences paired by seed: exact where they say so, and calibrated."

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test, rankdata, ttest_1samp

from conftest import ROOT, cli
from inr_assr.foundations.errors import InputError
from inr_assr.testing.estimates import estimate, sign_flip, sign_tests
from inr_assr.testing.results import read_rows, write_rows
from inr_assr.testing.seeds import any_pictures, resolution, seed_estimate, seeds_needed, these_pictures
from inr_assr.testing.statistics import as_table, compare, holm
from inr_assr.views.comparison import comparison_table
from test_statistics import ONE, TWO, A, B, drawn, made, off, rows_of


def one(values, margin=0.05, **more):
    d = np.asarray(values, dtype=float)[None]
    return estimate(d, 0 * d, margin, **more)


# No number stands for 'there is none'


@pytest.mark.parametrize("values", [
    [0] * 7 + [0.01], [0, 0, 0, 0, 0.3, 0.5], [0] * 13 + [1], [0] * 4 + [0.1], [0.1] * 9 + [0.1 + 1e-12], [1e-13, 2e-13, 0, 0],
    [0] * 98 + [0.2, 0.3], [1, 1, 1], [1, 2, 4], [0.1] * 20 + [5],
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
    return compare(rows, ONE, TWO, claim="checkpoints").say()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_pictures_are_said_to_be_few_in_words_of_papers(n, tmp_path):
    write_rows(made(n).query("run in (@ONE, @TWO)"), tmp_path / "rows.csv")
    shown = cli("compare", tmp_path / "rows.csv", "--baseline", TWO)
    assert shown.returncode == 0, shown.stderr
    for word in ("endless", "inf", "nan", "e+"):
        assert word not in shown.stdout.replace("information", ""), shown.stdout
    assert "too few" in shown.stdout if n < 3 else "is too small for tests of signs and ranks: 3 pictures" in shown.stdout
    assert "that takes 6 pictures" in shown.stdout
    assert ("no interval" in shown.stdout) == (n < 3)


# Intervals that a person believes


def test_five_gains_have_the_interval_that_a_person_believes():
    found = one([1.062, 1.571, 1.568, 0.506, 1.479])
    assert 0.2 < found.low <= 0.668 and 1.807 <= found.high < 2.1 and found.p < 0.05


@pytest.mark.parametrize("n", [4, 5, 6, 7, 8, 14, 30])
def test_real_differences_of_pictures_are_covered(n):
    "Draws from the differences of classic291 on B100 and Set14: on average over them the interval keeps 0.93."
    real, trials = real_differences(), 400
    generator, inside, wide = np.random.default_rng(n), [], []
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


# Paired seeds


def studies(shape, correlation, seeds, n=50, likes=0.0, effect=0.0, trials=1000, seed=0):
    "Seeds move a method by 0.05 dB, more or less alike for both; a rest of 0.03 dB; pictures like a method or not."
    generator = np.random.default_rng([seed, seeds, n, int(10 * correlation), len(shape)])
    shared = drawn(shape, (trials, seeds, 1), generator)
    a, b = (
        0.05 * (correlation**0.5 * shared + (1 - correlation) ** 0.5 * drawn(shape, (trials, seeds, 1), generator))
        + 0.03 * generator.normal(size=(trials, seeds, n))
        for _ in range(2)
    )
    return a + likes * drawn(shape, (trials, 1, n), generator) + effect, b


def nothing_is_found(shape, correlation, seeds, trials):
    here = studies(shape, correlation, seeds, trials=trials)
    elsewhere = studies(shape, correlation, seeds, likes=0.08, trials=trials, seed=1)
    for paired in (True, False):
        assert (these_pictures(*here, paired, 0.05).p < 0.05).mean() <= 0.05 + off(0.05, trials)
        assert (any_pictures(*elsewhere, paired, 0.05, resamples=399).p < 0.05).mean() <= 0.05 + off(0.05, trials)
    signs = np.mean([sign_flip(d) <= 0.05 for d in (here[0] - here[1]).mean(-1)])
    assert signs <= 0.05 + off(0.05, trials) and (signs == 0) == (seeds < 6)


@pytest.mark.parametrize("seeds", [2, 3, 6, 10])
@pytest.mark.parametrize("correlation", [0, 0.9])
@pytest.mark.parametrize("shape", ["normal", "skewed"])
def test_paired_and_unpaired_seeds_keep_alpha(shape, correlation, seeds):
    nothing_is_found(shape, correlation, seeds, 800)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", range(2, 11))
@pytest.mark.parametrize("correlation", [0, 0.5, 0.9])
@pytest.mark.parametrize("shape", ["normal", "heavy-tailed", "skewed"])
def test_paired_and_unpaired_seeds_keep_alpha_in_many_studies(shape, correlation, seeds):
    nothing_is_found(shape, correlation, seeds, 6000)


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_the_resolution_is_found_in_80_of_100_studies(seeds):
    sd = (2 * 0.1 * 0.05**2 + 2 * 0.03**2 / 50) ** 0.5  # of the difference, where seeds correlate by 0.9
    different = studies("normal", 0.9, seeds, effect=resolution(sd, seeds), trials=3000)
    assert abs((these_pictures(*different, True, 0.05).low > 0).mean() - 0.8) < off(0.8, 3000)
    assert seeds_needed(sd, 1.0001 * resolution(sd, seeds)) == seeds
    unpaired = (these_pictures(*different, False, 0.05).low > 0).mean()
    assert unpaired < 0.5


@pytest.mark.parametrize("seeds, least", [(2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_the_least_p_of_signs_is_named(seeds, least):
    rows = made(runs=(seeds, seeds), gain=2)
    found = compare(rows, A, B)
    assert found.paired_seeds.sign_flip == found.paired_seeds.least == least
    assert f"signs of {seeds} seeds p = {least:.3f}, the least that so many can give" in found.say()
    table = comparison_table(rows, B)
    assert table.data.loc[A, "signs of seeds"] == f"{least:.3f} (least {least:.2g})"
    assert ("no test of signs can reach 0.05 with fewer than 6" in table.words) == (seeds < 6)


def test_seeds_pair_by_number_and_only_where_both_have_the_same():
    values = {(d, s): 30 + s / 10 + k * (100 + s) / 1e4 + np.zeros(6) for k, d in enumerate(("LIIF", "LTE")) for s in (10, 9, 0)}
    found = compare(rows_of(values), A, B)
    assert np.allclose(found.paired_seeds.per_seed, [0.01, 0.0109, 0.011])  # in the order of the seeds
    assert found.paired_seeds.sd < 1e-3 < 0.1 < found.unpaired_seeds.sd
    assert found.low > 0 and found.unpaired_seeds.any.low < 0
    for other in ({("LIIF", 9): None}, {("LIIF", 11): values["LIIF", 9], ("LIIF", 9): None}):
        less = compare(rows_of({k: v for k, v in (values | other).items() if v is not None}), A, B)
        assert less.paired_seeds is None and less.low == less.unpaired_seeds.any.low and "paired" not in less.say()
    single = compare(rows_of(values), "EDSR-LTE seed 9", "EDSR-LIIF seed 9", claim="checkpoints")
    assert single.over_seeds is None and single.verdict_these is None


def test_a_study_has_one_number_over_scales_and_benchmarks():
    rows = pd.concat(
        [made(5, seed=1).assign(scale=s) for s in ("2", "3")]
        + [made(4, seed=2).assign(benchmark="B100", scale=s) for s in "23"]
    )
    rows.loc[rows.scale == "3", "value"] += 1.0 * (rows.decoder == "LTE")[rows.scale == "3"]
    one = compare(rows, A, B, benchmark="Set14", scale=["2", "3"])
    by_scale = [compare(rows, A, B, benchmark="Set14", scale=s) for s in "23"]
    assert np.isclose(one.difference, np.mean([c.difference for c in by_scale])) and len(one.images) == 5
    assert np.allclose(one.paired_seeds.per_seed, np.mean([c.paired_seeds.per_seed for c in by_scale], 0))
    assert "of Set14, mean of x2, x3" in one.say()
    whole = compare(rows, A, B, benchmark=["Set14", "B100"], scale=["2", "3"])
    assert len(whole.images) == 9 and "Set14/000" in whole.images and whole.scale == "2, 3"
    less = rows[~((rows.scale == "3") & (rows.image == "001") & (rows.run == ONE) & (rows.benchmark == "Set14"))]
    assert len(compare(less, A, B, benchmark="Set14", scale=["2", "3"]).images) == 4
    with pytest.raises(InputError, match="other runs in one place than in another"):
        compare(rows[(rows.scale == "2") | (rows.run != ONE)], A, B, benchmark="Set14", scale=["2", "3"])
    table = as_table(holm([one, whole]))
    assert (
        (table.p_these_holm >= table.p_these).all()
        and table.sd_paired.gt(0).all()
        and set(table.verdict_these) <= {"better", "equivalent", "undecided", "worse"}
    )


def test_questions_nest():
    "Any picture is never surer than these pictures, and turning a comparison turns all of it."
    for shape, correlation in (("normal", 0.9), ("skewed", 0)):
        a, b = studies(shape, correlation, 3, n=8, likes=0.05, trials=200)
        for paired in (True, False):
            for k in range(0, 200, 10):
                one = seed_estimate(a[k], b[k], paired, 0.05, resamples=199)
                assert one.any.low <= one.these.low + 1e-12 and one.any.high >= one.these.high - 1e-12
                assert one.any.resolution >= one.these.resolution - 1e-12 and one.turned().turned() == one


def test_classic291_is_better_known_by_pairing():
    "B100: the difference of LTE and LIIF varies five to ten times less from seed to seed than two independent runs would; Set14 x2: not less."
    rows = read_rows(ROOT / "outputs/classic291/rows.csv")
    names = "EDSR-LTE TrainSimple", "EDSR-LIIF TrainSimple"
    for scale in ("2", "2.5", "3", "4", "6"):
        found = compare(rows, *names, benchmark="B100", scale=scale)
        assert found.paired_seeds.sd < 0.01 and 0.03 < found.unpaired_seeds.sd < 0.06
        assert found.verdict == found.verdict_these == "better"
    found = compare(rows, *names, benchmark="Set14", scale="2")
    assert found.paired_seeds.sd > found.unpaired_seeds.sd


def test_compare_by_the_command_line_shows_both():
    words = ("compare", ROOT / "outputs/classic291/rows.csv", "--claim", "methods", "--baseline", "EDSR-LIIF TrainSimple", "--benchmark", "B100")
    shown = cli(*words)
    assert shown.returncode == 0, shown.stderr
    head = [name.strip() for name in shown.stdout.splitlines()[0].strip("|").split("|")]
    assert len([name for name in head if name]) == 8 and "interval, these pictures" in head
    assert "Columns: 'minus" in shown.stdout and "for any picture and any seed" in shown.stdout
    for text in ("signs of 2 seeds p = 0.500", "unpaired: ", "paired by seed"):
        assert text in shown.stdout
    full = cli(*words, "--format", "html")
    for text in ("interval, these pictures", "unpaired interval, any picture", "signs of seeds", "0.500 (least 0.5)", "resolution, these pictures"):
        assert text in full.stdout
    for text in (shown.stdout, full.stdout):
        assert "p, these<" not in text and "p, these |" not in text
    assert not any(word in shown.stdout for word in (" inf", "nan", "endless", "e+"))


# Seeds that do not vary, and columns that a person reads


def same_difference(seeds, gain=0.3, pictures=8, **more):
    levels = {s: 30 + s / 7 + np.linspace(0, 3, pictures) for s in range(seeds)}
    values = {("LIIF", s): y for s, y in levels.items()} | {("LTE", s): y + gain for s, y in levels.items()}
    return rows_of(values, **more)


@pytest.mark.parametrize("gain", (0.3, 0.0, -1e-12))
@pytest.mark.parametrize("seeds, pictures", [(2, 8), (2, 1), (7, 8)])
def test_seeds_without_spread_prove_nothing(seeds, pictures, gain):
    rows = same_difference(seeds, gain, pictures)
    found = compare(rows, A, B)
    assert (found.verdict, found.verdict_these) == ("undecided", "undecided") and not found.over_seeds.varies
    assert np.isnan([found.low, found.high]).all() and found.p == found.equivalence == found.p_these == 1
    assert "no spread between seeds: no interval over seeds" in found.say()
    for words in ("p < 0.001", "-0.000", "a true 0.000", "equivalent", "better", "signs of"):
        assert words not in found.say().replace("is better on", "")
    frozen = rows.assign(value=30.0 + 0.3 * (rows.decoder == "LTE"))  # nothing varies at all
    assert "no spread between seeds" in compare(frozen, A, B).say()
    mixed = frozen.assign(seed=frozen.seed + 5 * (frozen.decoder == "LTE"))  # not paired
    assert "no spread between seeds" in compare(mixed, A, B).say()


def test_seeds_with_one_fingerprint_are_refused_in_one_line(tmp_path):
    rows = made(runs=(3, 3)).assign(weights=lambda r: r.run.map(hash).astype(str))
    assert compare(rows, A, B).verdict == "better"
    rows.loc[(rows.decoder == "LTE") & (rows.seed < 2), "weights"] = "0123abcd"
    with pytest.raises(InputError, match=r"weights: 'EDSR-LTE seed 0' and 'EDSR-LTE seed 1' have the same weights \(0123abcd\)"):
        compare(rows, A, B)
    write_rows(rows, tmp_path / "rows.csv")
    shown = cli("compare", tmp_path / "rows.csv", "--claim", "methods", "--baseline", B)
    assert shown.returncode == 2 and "have the same weights" in shown.stderr.splitlines()[-1] and "Traceback" not in shown.stderr


def test_two_seeds_never_give_a_p_below_a_thousandth():
    rows = same_difference(2)
    rows.loc[(rows.decoder == "LTE") & (rows.seed == 1), "value"] += 1e-5
    found = compare(rows, A, B)
    assert found.over_seeds.varies and 0.001 <= found.p_these < 0.01 and "p < 0.001" not in found.say()
    assert "a true less than 0.001 dB is found" in found.say() and "true 0.000" not in found.say()
    other = compare(rows[(rows.decoder == "LTE") | (rows.seed == 0)].assign(
        recipe=lambda r: r.recipe.where(r.decoder == "LTE", ""), encoder=lambda r: r.encoder.where(r.decoder == "LTE", ""),
        seed=lambda r: r.seed.astype(object).where(r.decoder == "LTE", "")), A, "LIIF")  # fmt: skip
    assert other.p_these >= 0.001


def test_what_rounds_to_zero_has_no_minus():
    from inr_assr.testing.sentences import signed, span

    assert (signed(-0.0001, 3), span(-0.0004, -0.0001, 3), signed(-0.0006, 3)) == ("+0.000", "+0.000 to +0.000", "-0.001")
