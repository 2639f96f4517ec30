"""Synthesised voices: the pre-training set."""

import numpy as np

from dslite.datasets import demo, demo_voices


def test_the_pretraining_set_is_repeatable_and_not_the_demo():
    waves, targets = demo_voices.pretraining_set(12, seed=demo.SEED)
    again, _ = demo_voices.pretraining_set(6, seed=demo.SEED)
    other, _ = demo_voices.pretraining_set(6, seed=1)
    assert waves.shape == (12, 32000)
    assert waves.dtype == np.float32
    np.testing.assert_array_equal(waves[:6], again)
    assert not np.array_equal(other, again)
    assert targets.shape == (12, len(demo_voices.HEADS))
    assert set(np.unique(targets)) == {0, 1, 2}
    clips = [demo.clip(number, "calm", take)[:16000] for number in (1, 7, 12) for take in (1, 2)]
    similar = [np.abs(np.corrcoef(a[:16000], b)[0, 1]) for a in waves for b in clips]
    assert max(similar) < 0.5


def test_the_pretraining_classes_are_balanced(rng):
    pairs = [(demo_voices.draw_speaker(rng), demo_voices.draw_free_expression(rng))
             for _ in range(2000)]  # fmt: skip
    clips = [demo_voices.audible_cues(*pair) for pair in pairs]
    for head, edges in demo_voices.HEADS.items():
        shares = np.bincount(np.digitize([clip[head] for clip in clips], edges), minlength=3) / 2000
        assert shares.min() > 0.25, head
