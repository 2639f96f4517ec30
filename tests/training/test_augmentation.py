"""SapAugment, CutMix and SpecAugment: planned, applied, and counted pixel by pixel."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from dslite.settings import Settings
from dslite.training import augmentation


def key(*numbers: int) -> tf.Tensor:
    return tf.constant(numbers or (0, 0), tf.int32)


def numbered(batch: int, height: int, width: int) -> np.ndarray:
    """Images whose every pixel tells its sample, row and column; exact in float32, never 0."""
    sample, row, column = np.ogrid[1 : batch + 1, :height, :width]
    value = (10_000 * sample + 100 * row + column).astype(np.float32)
    return np.stack([value, value + 0.25, value + 0.5], axis=-1)


def sources(images: np.ndarray) -> np.ndarray:
    """Sample that every pixel comes from, [batch, height, width]; -1 where masked.

    Asserts that no pixel has moved and that its three colours stay together.
    """
    batch, height, width, _ = images.shape
    sample = np.int64(images[..., 0]) // 10_000 - 1
    kept = sample >= 0
    expected = numbered(batch, height, width)[
        sample, np.arange(height)[None, :, None], np.arange(width)[None, None, :]
    ]
    np.testing.assert_array_equal(images[kept], expected[kept])
    assert not images[~kept].any()
    return sample


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Top, bottom, left and right (exclusive) of a filled rectangle."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    edges = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    assert mask[edges[0] : edges[1], edges[2] : edges[3]].all()
    assert mask.sum() == (edges[1] - edges[0]) * (edges[3] - edges[2])
    return edges


def within(count: int, draws: int, p: float) -> bool:
    """Whether a count is plausible: one in a million of correct ones is not."""
    low, high = scipy.stats.binom.interval(1 - 1e-6, draws, p)
    return low <= count <= high


# The policy


@pytest.mark.parametrize(("a", "s"), [(0.5, 10.0), (0.2, 10.0), (0.8, 3.0)])
@pytest.mark.parametrize("batch", [1, 2, 7, 32])
def test_strength_is_the_incomplete_beta_function(rng, a, s, batch):
    losses = rng.exponential(size=batch).astype(np.float32)
    rank = scipy.stats.rankdata(losses)
    expected = 1 - scipy.special.betainc(s * (1 - a), s * a, rank / batch)
    found = augmentation.strength(losses, a, s).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@settings(deadline=None)
@given(steps=st.lists(st.integers(0, 400), min_size=1, max_size=40))
def test_losses_within_a_step_are_ranked_in_the_order_of_the_batch(steps):
    """Whatever rounding does to a loss, as long as it stays on the same step."""
    steps = np.array(steps)
    rank = np.argsort(np.argsort(steps, kind="stable"), kind="stable") + 1
    expected = 1 - scipy.special.betainc(5, 5, rank / len(steps))
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, len(steps))
    losses = ((steps + noise) * augmentation.LOSS_STEP).astype(np.float32)
    np.testing.assert_allclose(augmentation.strength(losses, 0.5, 10.0), expected, atol=1e-5)


@settings(deadline=None)
@given(
    losses=st.lists(st.integers(0, 10_000), min_size=2, max_size=32, unique=True),
    a=st.floats(0.1, 0.9),
    s=st.floats(1, 20),
)
def test_a_lower_loss_is_never_augmented_less(losses, a, s):
    losses = np.float32(losses) / 1000
    found = augmentation.strength(losses, a, s).numpy()[np.argsort(losses)]
    assert (np.diff(found) <= 1e-6).all()
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize(("reading", "slope"), [("paper", 0.15), ("code", 0.25)])
@pytest.mark.parametrize("name", ["cutmix", "specaugment"])
@pytest.mark.parametrize("lam", [0.2, 0.7, 1.0])
def test_each_method_is_applied_as_often_as_the_policy_says(name, reading, slope, lam):
    used = Settings(augmentation=name, image_size=64, probability_reading=reading)
    expected = 0.10 + slope * lam
    assert float(augmentation.probability(tf.constant(lam), used)) == pytest.approx(expected)
    plan = augmentation.plan(tf.fill([10_000], lam), key(8, 1), used)
    assert plan.changed.dtype == tf.bool
    assert within(int(plan.changed.numpy().sum()), 10_000, expected)


def applied(images, labels, plan, used):
    """Images, labels and which are changed, as arrays."""
    augmented = augmentation.apply(images, labels, plan, used)
    return [np.asarray(part) for part in (*augmented, plan.changed)]


# CutMix

SIDE, LARGEST = 48, 16


def always(size: int, largest: float, **differs) -> Settings:
    """Settings that apply every method, ``largest`` in pixels of the image."""
    used = {"cutmix_px": largest * 224 / size, "mask_px": largest * 224 / size}
    used |= {"probability_min": 1.0, "probability_max": 1.0, "image_size": max(size, 32)}
    return Settings(**(used | differs)).model_copy(update={"image_size": size})


def cut(batch: int, seed: int, lam, largest=LARGEST, size=SIDE, **differs):
    lam = tf.constant(np.broadcast_to(np.float32(lam), batch))
    images, used = tf.constant(numbered(batch, size, size)), always(size, largest, **differs)
    plan = augmentation.plan_cutmix(lam, key(7, seed), used)
    return applied(images, tf.eye(batch), plan, used)


@pytest.mark.parametrize("batch", [2, 3, 32])
def test_cutmix_pixel_by_pixel(rng, batch):
    clipped = whole = 0
    partners = set()
    for seed in range(12):
        lam = rng.uniform(size=batch).astype(np.float32)
        images, labels, changed = cut(batch, seed, lam)
        source = sources(images)
        for i in range(batch):
            foreign = source[i] != i
            side = int(np.round(np.float32(LARGEST) * lam[i]))
            assert changed[i] == foreign.any()
            if not foreign.any():
                assert side == 0  # the centre lies inside the image, so that any other shows
                np.testing.assert_array_equal(labels[i], np.eye(batch)[i])
                continue
            (partner,) = set(source[i][foreign])
            partners.add((i, partner))
            top, bottom, left, right = box(foreign)
            for low, high, length in ((top, bottom, SIDE), (left, right, SIDE)):
                touches = low == 0 or high == length
                assert high - low == side or (touches and high - low < side)
            cropped = foreign.sum() < side**2
            clipped, whole = clipped + cropped, whole + (not cropped)
            area = foreign.sum() / SIDE**2
            expected = (1 - area) * np.eye(batch)[i] + area * np.eye(batch)[partner]
            np.testing.assert_allclose(labels[i], expected, atol=1e-6)
            assert labels[i].sum() == pytest.approx(1, abs=1e-6)
    assert clipped
    assert whole
    assert all(i != partner for i, partner in partners)
    if batch < 32:
        assert len(partners) == batch * (batch - 1)  # everybody lends to everybody


def test_partners_are_drawn_evenly():
    draws = [sources(cut(5, seed, 1.0, 8, 8)[0]) for seed in range(150)]
    counts = np.zeros((5, 5), int)
    for source in draws:
        for i in range(5):
            counts[i, (set(source[i].ravel()) - {i}).pop()] += 1
    others = counts[~np.eye(5, dtype=bool)]
    assert not counts.diagonal().any()
    assert all(within(count, 150, 1 / 4) for count in others)


def test_patch_centres_cover_the_image():
    """Every border clips some patch, and the centres are uniform along both axes."""
    edges = []
    for seed in range(20):
        images, _, changed = cut(32, seed, 1.0, 7)  # an odd side has a middle pixel
        source = sources(images)
        edges += [box(source[i] != i) for i in range(32) if changed[i]]
    top, bottom, left, right = np.array(edges).T
    for low, high, length in ((top, bottom, SIDE), (left, right, SIDE)):
        assert within((high <= length // 2).sum(), len(edges), (length // 2 - 3) / length)
        assert within((low >= length // 2).sum(), len(edges), (length // 2 - 3) / length)
        assert within(((low == 0) & (high < 7)).sum(), len(edges), 3 / length)
        assert within(((high == length) & (high - low < 7)).sum(), len(edges), 3 / length)


@pytest.mark.parametrize("seed", range(3))
def test_cutmix_of_one_has_nobody_to_borrow_from(seed):
    images, labels, changed = cut(1, seed, 1.0)
    np.testing.assert_array_equal(images, numbered(1, SIDE, SIDE))
    np.testing.assert_array_equal(labels, [[1]])
    assert not changed.any()


def test_the_public_code_weights_labels_by_the_whole_patch():
    lam = tf.linspace(0.2, 1.0, 16)
    paper, code = (
        augmentation.plan_cutmix(lam, key(1, 3), always(64, 30, cutmix_reading=reading))
        for reading in ("paper", "code")
    )
    np.testing.assert_array_equal(paper.patch, code.patch)
    np.testing.assert_allclose(code.weight, np.round(30 * lam) ** 2 / 64**2)
    assert (code.weight > paper.weight).numpy().any()  # where the patch was clipped


@settings(deadline=None)
@given(
    batch=st.integers(2, 9),
    seed=st.integers(0, 2**31 - 1),
    lam=st.floats(0, 1, width=32),
    largest=st.integers(1, 60),
)
def test_plans_lie_in_the_picture(batch, seed, lam, largest):
    used = always(64, largest, augmentation="cutmix+specaugment")
    planned = augmentation.plan(tf.fill([batch], lam), key(0, seed), used)
    patch, mask = planned.patch.numpy(), planned.mask.numpy()
    side = int(np.round(np.float32(largest) * np.float32(lam)))
    for corners in (patch, mask):
        assert corners.min() >= 0
        assert corners.max() <= 64
    height, width = patch[:, 1] - patch[:, 0], patch[:, 3] - patch[:, 2]
    assert abs(max(height.max(), width.max()) - side) <= max(side // 2 + 1, 1)
    assert ((height <= side + 1) & (width <= side + 1)).all()
    assert ((height >= side // 2) & (width >= side // 2)).all()  # the centre lies inside
    np.testing.assert_allclose(planned.weight, height * width / 64**2, atol=1e-6)
    assert ((planned.partner.numpy() != np.arange(batch)) == (side > 0)).all()
    assert (abs(mask[:, 1] - mask[:, 0] - side) <= 1).all()
    assert (mask[:, 1] - mask[:, 0] == mask[:, 3] - mask[:, 2]).all()
    assert (planned.changed.numpy() == ((height > 0) | (mask[:, 1] > mask[:, 0]))).all()


# SpecAugment


def masked_out(batch: int, seed: int, lam, largest, size: int, **differs):
    lam = tf.constant(np.broadcast_to(np.float32(lam), batch))
    images, used = tf.constant(numbered(batch, size, size)), always(size, largest, **differs)
    plan = augmentation.plan_specaugment(lam, key(5, seed), used)
    return applied(images, tf.eye(batch), plan, used)


@pytest.mark.parametrize(("size", "largest"), [(100, 67), (64, 19)])
def test_specaugment_pixel_by_pixel(rng, size, largest):
    batch = 16
    first, last = np.zeros(2, bool), np.zeros(2, bool)  # a stretch at the start, at the end
    lows = []
    for seed in range(12):
        lam = rng.uniform(size=batch).astype(np.float32)
        images, labels, changed = masked_out(batch, seed, lam, largest, size)
        np.testing.assert_array_equal(labels, np.eye(batch))
        source = sources(images)
        for i in range(batch):
            masked = source[i] < 0
            assert set(source[i][~masked]) == {i}
            wide = int(np.round(np.float32(largest) * lam[i]))
            assert bool(changed[i]) == masked.any() == (wide > 0)
            frequency, time = masked.all(axis=1), masked.all(axis=0)
            np.testing.assert_array_equal(masked, frequency[:, None] | time[None, :])
            for axis, line in enumerate((frequency, time)):
                positions = np.flatnonzero(line)
                assert len(positions) == wide
                if wide:
                    assert positions[-1] - positions[0] == wide - 1  # one stretch
                    first[axis] |= positions[0] == 0
                    last[axis] |= positions[-1] == len(line) - 1
                    lows.append((axis, positions[0] / (len(line) - wide)))
    assert first.all()
    assert last.all()
    for axis in (0, 1):
        assert np.mean([low for a, low in lows if a == axis]) == pytest.approx(0.5, abs=0.1)
    places = np.array([low for _, low in lows]).reshape(-1, 2)
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.3  # time and frequency are drawn apart


def test_specaugment_masks_the_whole_image_at_most():
    images, _, changed = masked_out(4, 0, 1.0, 32, 32)
    assert not images.any()
    assert changed.all()


def test_masks_of_the_public_code_are_of_imagenets_colour():
    """On pictures already normalised, where the mean is 0."""
    code, _, changed = masked_out(8, 3, 0.8, 20, 48, mask_reading="code")
    paper = masked_out(8, 3, 0.8, 20, 48)[0]
    assert changed.all()
    hidden = (paper == 0).all(axis=-1)
    assert hidden.any()
    np.testing.assert_array_equal(code[~hidden], paper[~hidden])
    assert (code[hidden] == np.float32([0.485, 0.456, 0.406])).all()


# Both, by configuration

SIZE = 64  # patches up to 56 * 64 / 224 = 16 pixels, masks up to 67 * 64 / 224 = 19.1


def configured(name: str, p: float | None = None, **differs) -> Settings:
    differs |= {} if p is None else {"probability_min": p, "probability_max": p}
    return Settings(augmentation=name, image_size=SIZE, **differs)


def augmented(settings: Settings, seed: int = 0, batch: int = 32, size: int = SIZE, labels=None):
    """The batch augmented, losses ascending: sample 0 is the easiest."""
    settings = settings.model_copy(update={"image_size": size})
    lam = augmentation.strength(tf.range(batch, dtype=tf.float32), settings.sap_a, settings.sap_s)
    images = tf.constant(numbered(batch, size, size))
    labels = tf.eye(batch) if labels is None else tf.constant(labels)
    return applied(images, labels, augmentation.plan(lam, key(11, seed), settings), settings)


@pytest.mark.parametrize("p", [None, 0.5, 1.0])
@pytest.mark.parametrize("name", ["none", "cutmix", "specaugment", "cutmix+specaugment"])
def test_configurations(name, p):
    cutmixed = specaugmented = 0
    for seed in range(4):
        images, labels, changed = augmented(configured(name, p), seed)
        source = sources(images)
        foreign, masked = (source != np.arange(32)[:, None, None]) & (source >= 0), source < 0
        np.testing.assert_array_equal(changed, (foreign | masked).any(axis=(1, 2)))
        mixed = (labels != np.eye(32)).any(axis=1)
        np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
        if "specaugment" not in name:
            np.testing.assert_array_equal(mixed, foreign.any(axis=(1, 2)))
        assert mixed[foreign.any(axis=(1, 2))].all()  # a mask may hide a patch, not its label
        cutmixed += mixed.sum()
        specaugmented += masked.any(axis=(1, 2)).sum()
    assert bool(cutmixed) == ("cutmix" in name)
    assert bool(specaugmented) == ("specaugment" in name)
    if p == 1.0 and name != "none":
        # The hardest few are left as they are: their patch or mask rounds to no pixel.
        lam = 1 - scipy.special.betainc(5, 5, np.arange(1, 33) / 32)
        largest = 67 if "specaugment" in name else 56
        np.testing.assert_array_equal(changed, np.round(largest * SIZE / 224 * lam) > 0)


def test_methods_are_drawn_independently():
    batch, draws = 500, 4
    cutmixed, specaugmented = [], []
    for seed in range(draws):
        images, labels, _ = augmented(configured("cutmix+specaugment", 0.5), seed, batch, 32)
        half = slice(0, 250)  # strong enough that both methods show
        cutmixed.append((labels != np.eye(batch)).any(axis=1)[half])
        specaugmented.append((images[..., 0] == 0).any(axis=(1, 2))[half])
    one, two = np.concatenate(cutmixed), np.concatenate(specaugmented)
    assert within(one.sum(), len(one), 0.5)
    assert within(two.sum(), len(two), 0.5)
    assert within((one & two).sum(), len(one), 0.25)


@pytest.mark.parametrize("name", ["cutmix", "specaugment", "cutmix+specaugment"])
def test_the_seed_decides(name):
    used = configured(name, 0.5)
    for one, other in zip(augmented(used, 1), augmented(used, 1), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (augmented(used, 1)[0] != augmented(used, 2)[0]).any()


def test_compiled_for_any_size_of_batch_it_does_the_same():
    used = configured("cutmix+specaugment", 0.5).model_copy(update={"image_size": 32})

    def augment(images, labels, lam, seed):
        return augmentation.apply(images, labels, augmentation.plan(lam, seed, used), used)

    shapes = [[None, 32, 32, 3], [None, None], [None]]
    signature = [*map(tf.TensorSpec, shapes), tf.TensorSpec([2], tf.int32)]
    compiled = tf.function(augment, autograph=False, input_signature=signature)
    for batch, seed in ((32, 2), (32, 3), (7, 2), (1, 2)):
        lam = augmentation.strength(tf.range(batch, dtype=tf.float32), used.sap_a, used.sap_s)
        inputs = tf.constant(numbered(batch, 32, 32)), tf.eye(batch), lam, key(4, seed)
        for one, other in zip(compiled(*inputs), augment(*inputs), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    assert compiled.experimental_get_tracing_count() == 1


# The plan


def planned_for(name: str, batch: int = 32, p: float | None = 0.5, seed: int = 4):
    used = configured(name, p)
    lam = augmentation.strength(tf.range(batch, dtype=tf.float32), used.sap_a, used.sap_s)
    return used, augmentation.plan(lam, key(2, seed), used)


@pytest.mark.parametrize("name", ["none", "cutmix", "specaugment", "cutmix+specaugment"])
@pytest.mark.parametrize("batch", [1, 2, 32])
def test_what_is_planned_is_applied_and_nothing_else(name, batch):
    used, plan = planned_for(name, batch)
    images = numbered(batch, SIZE, SIZE)
    augmented, labels, changed = applied(tf.constant(images), tf.eye(batch), plan, used)
    expected, mixed = images.copy(), np.eye(batch)
    partner, patch, weight, mask = (part.numpy() for part in plan)
    for i in range(batch):
        top, bottom, left, right = patch[i]
        expected[i, top:bottom, left:right] = images[partner[i], top:bottom, left:right]
        low, high, early, late = mask[i]
        expected[i, low:high] = 0
        expected[i, :, early:late] = 0
        mixed[i] = (1 - weight[i]) * np.eye(batch)[i] + weight[i] * np.eye(batch)[partner[i]]
    np.testing.assert_array_equal(augmented, expected)
    np.testing.assert_allclose(labels, mixed, atol=1e-6)
    really = (expected != images).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, really)
    if batch == 32:
        assert really.any() == (name != "none")


def test_rows_of_a_plan_keep_their_partners():
    used, plan = planned_for("cutmix+specaugment")
    images = tf.constant(numbered(32, SIZE, SIZE))
    whole = applied(images, tf.eye(32), plan, used)[0]
    rows = np.flatnonzero(plan.changed)
    assert 3 < len(rows) < 32
    some = plan.rows(tf.constant(rows))
    pasted = augmentation.paste(tf.gather(images, rows), tf.gather(images, some.partner), some)
    np.testing.assert_array_equal(augmentation.mask(pasted, some, used), whole[rows])
    assert some.changed.numpy().all()


@pytest.mark.parametrize("size", [32, 112, 224, 448])
def test_image_scale_is_that_of_the_papers_pixels(size):
    used = Settings(
        image_size=size, probability_min=1, probability_max=1, augmentation="cutmix+specaugment"
    )
    plan = augmentation.plan(tf.ones([64]), key(0, 5), used)
    patch, mask = plan.patch.numpy(), plan.mask.numpy()
    assert (patch[:, 1] - patch[:, 0]).max() == round(56 * size / 224)
    assert set(mask[:, 1] - mask[:, 0]) == {round(67 * size / 224)}
