"""Markov chains against plain dictionaries, sums to one and closed forms."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest

from rnncore.models import Markov

SEQUENCES = [np.random.default_rng(0).integers(0, 3, size=n) for n in (0, 1, 2, 5, 60)]


def contexts_of(sequence, order):
    """(context of `order` symbols filled up with -1, next symbol) of every step."""
    padded = [-1] * order + list(map(int, sequence))
    return [(tuple(padded[t : t + order]), padded[t + order]) for t in range(len(sequence))]


def additive(sequences, order, size, alpha):
    counts = defaultdict(Counter)
    for s in sequences:
        for context, x in contexts_of(s, order):
            counts[context][x] += 1

    def probability(context, x):
        total = sum(counts[context].values()) + alpha * size
        return (counts[context][x] + alpha) / total if total else 1 / size

    return probability


def kneser_ney(sequences, order, size, discount):
    """Chen & Goodman's interpolated Kneser–Ney with plain dictionaries."""
    levels = []
    for k in range(order + 1):
        if k == order:
            grams = [g for s in sequences for g in contexts_of(s, k)]
        else:  # different contexts that are one symbol longer
            grams = [(c[1:], x) for c, x in
                     {g for s in sequences for g in contexts_of(s, k + 1)}]
        counts = defaultdict(Counter)
        for context, x in grams:
            counts[context][x] += 1
        levels.append(counts)

    def probability(context, x):
        below = 1 / size
        for k, counts in enumerate(levels):
            after = counts[context[len(context) - k :]]
            total = sum(after.values())
            if total:
                below = (max(after[x] - discount, 0) + discount * len(after) * below) / total
        return below

    return probability


MODELS = [("additive", {"alpha": 0.3}), ("additive", {"alpha": 0.0}),
          ("kneser-ney", {"discount": 0.6}), ("kneser-ney", {})]


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize(("smoothing", "options"), MODELS[:3])
def test_probabilities_equal_those_of_a_model_in_plain_dictionaries(order, smoothing, options):
    model = Markov(order, smoothing=smoothing, **options).fit(SEQUENCES)
    if smoothing == "additive":
        twin = additive(SEQUENCES, order, 3, options["alpha"])
    else:
        twin = kneser_ney(SEQUENCES, order, 3, options["discount"])
    for sequence in [*SEQUENCES, [2, 2, 2, 2, 2, 2, 0, 1]]:
        want = np.array([twin(c, x) for c, x in contexts_of(sequence, order)])
        got = np.exp(model.log_prob(sequence, per_step=True))
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=0)


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize(("smoothing", "options"), MODELS)
def test_probabilities_of_all_sequences_of_a_length_sum_to_one(order, smoothing, options):
    model = Markov(order, smoothing=smoothing, **options).fit(SEQUENCES)
    for length in range(6):
        total = sum(np.exp(model.log_prob(list(s)))
                    for s in itertools.product(range(3), repeat=length))
        assert total == pytest.approx(1.0, abs=3**length * 1e-15 + 1e-14)


@pytest.mark.parametrize(("smoothing", "options"), MODELS)
def test_the_joint_is_the_sum_of_the_conditionals(smoothing, options):
    model = Markov(2, smoothing=smoothing, **options).fit(SEQUENCES)
    sequence = SEQUENCES[-1]
    steps = model.log_prob(sequence, per_step=True)
    assert model.log_prob(sequence) == steps.sum()
    ahead = np.array([np.log(model.predict(sequence[:t])[sequence[t]])
                      for t in range(len(sequence))])
    np.testing.assert_allclose(steps, ahead, rtol=1e-12)


def test_a_large_alphabet_is_counted_sparsely():
    x = np.random.default_rng(1).zipf(1.3, size=20_000) % 2_000_000
    model = Markov(4, smoothing="kneser-ney").fit([x])
    kept = sum(a.nbytes for name in ("keys_", "pairs_", "counts_") for a in getattr(model, name))
    assert kept < 60 * 8 * len(x)  # 14 numbers per symbol, not 2e6**4
    assert model.predict(x[:9]).sum() == pytest.approx(1.0, abs=1e-9)
    assert len(model.sample(50, seed=0)) == 50


def test_kneser_ney_counts_the_contexts_of_a_symbol():
    # "n" is frequent but only ever after "i"; "o" is rarer, after many
    text = "in" * 50 + "aobocodoeofogo" * 2
    model = Markov(1, smoothing="kneser-ney").fit([text + "z"])
    after_z = dict(zip(model.alphabet_, model.predict("z"), strict=True))
    assert after_z["o"] > 3 * after_z["n"]
    once = Markov(1, smoothing="additive", alpha=1e-6).fit([text])
    assert dict(zip(once.alphabet_, once.predict("i"), strict=True))["n"] == pytest.approx(1.0)


def test_samples_follow_the_probabilities():
    for smoothing, options in MODELS:
        model = Markov(2, smoothing=smoothing, **options).fit(SEQUENCES)
        context = SEQUENCES[-1][:7]
        want = model.predict(context)
        draws = [int(model.sample(1, context, seed=s)[0]) for s in range(3000)]
        got = np.bincount(draws, minlength=3) / 3000
        # 4 standard deviations of a frequency
        assert (np.abs(got - want) <= 4 * np.sqrt(want * (1 - want) / 3000) + 1e-12).all()


# -- in the long run ------------------------------------------------------------------
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("smoothing", "options"), [MODELS[0], MODELS[3]])
def test_the_stationary_distribution_is_that_of_the_transition_table(order, smoothing, options):
    model = Markov(order, smoothing=smoothing, **options).fit(SEQUENCES)
    table = model.transition_table()
    for row, context in zip(table, itertools.product(range(3), repeat=order), strict=True):
        np.testing.assert_allclose(row, model.predict(list(context)), rtol=1e-13)
    share = model.stationary_distribution()
    assert share.shape == (3,) * order
    assert share.sum() == pytest.approx(1.0, abs=1e-12)
    pushed = (share[..., None] * table.reshape(*share.shape, 3)).sum(axis=0)
    np.testing.assert_allclose(pushed, share, atol=1e-12)


def test_the_entropy_rate_has_its_closed_form():
    # a two-state chain: π = (q, p)/(p+q), H = Σ π h
    rng = np.random.default_rng(2)
    x = [0]
    for u in rng.random(5000):
        x.append(x[-1] ^ int(u < (0.1, 0.4)[x[-1]]))
    model = Markov(1, alpha=0.0).fit([x])
    p, q = model.predict([0])[1], model.predict([1])[0]
    np.testing.assert_allclose(model.stationary_distribution(), np.array([q, p]) / (p + q),
                               rtol=1e-12)
    h = [-(a * np.log(a) + (1 - a) * np.log(1 - a)) for a in (p, q)]
    assert model.entropy_rate() == pytest.approx((q * h[0] + p * h[1]) / (p + q), rel=1e-12)
    assert Markov(0).fit([[0, 1, 2, 3]]).entropy_rate() == pytest.approx(np.log(4), rel=1e-12)
    # the mean log probability of a long sample agrees with the rate
    sample = model.sample(4000, seed=1)
    assert -model.score([sample]) == pytest.approx(model.entropy_rate(), abs=0.05)


def test_large_and_periodic_chains_converge_too():
    cycle = Markov(1, alpha=0.0).fit([np.tile(np.arange(3), 20)])
    np.testing.assert_allclose(cycle.stationary_distribution(), 1 / 3, rtol=1e-12)
    assert cycle.entropy_rate() == pytest.approx(0.0, abs=1e-12)
    many = Markov(2, alpha=0.1).fit([np.random.default_rng(3).integers(0, 40, size=5000)])
    share = many.stationary_distribution()  # 1600 contexts: iterated
    pushed = (share[..., None] * many.transition_table().reshape(40, 40, 40)).sum(axis=0)
    assert np.abs(pushed - share).sum() < 1e-12
    with pytest.raises(ValueError, match="max_iter: got 2"):
        many.stationary_distribution(max_iter=2)


def test_a_chain_without_a_unique_stationary_distribution_is_refused():
    apart = Markov(1, alpha=0.0).fit([[0, 1, 0, 1], [2, 3, 2, 3]])
    with pytest.raises(ValueError, match=r"more than one.*alpha > 0"):
        apart.stationary_distribution()
    with pytest.raises(ValueError, match="order: got 3 with 200 symbols"):
        Markov(3, alphabet=200).fit([[0, 1]]).entropy_rate()


@pytest.mark.parametrize(("name", "value"), [
    ("order", -1), ("order", 1.0), ("order", True), ("smoothing", "laplace"), ("alpha", -1.0),
    ("alpha", np.nan), ("discount", 0.0), ("discount", 1.5), ("alphabet", 0), ("alphabet", ""),
])
def test_wrong_settings_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}: got"):
        Markov(**{name: value}).fit([[0, 1]])
