"""The voices that the demo's weights were pre-trained on."""

import runpy
from types import SimpleNamespace

import numpy as np

from dslite import paths
from dslite.datasets import demo


def test_the_pretraining_set_is_repeatable_and_not_the_demo():
    script = paths.ROOT / "data" / "weights" / "pretrain_demo.py"
    pretrain = SimpleNamespace(**runpy.run_path(str(script)))
    waves, targets = pretrain.pretraining_set(12, seed=demo.SEED)
    again, _ = pretrain.pretraining_set(6, seed=demo.SEED)
    other, _ = pretrain.pretraining_set(6, seed=1)
    assert (waves.shape, waves.dtype) == ((12, 32000), np.float32)
    np.testing.assert_array_equal(waves[:6], again)
    assert not np.array_equal(other, again)
    assert targets.shape == (12, len(pretrain.HEADS))
    assert set(np.unique(targets)) == {0, 1, 2}
    clips = [demo.clip(number, "calm", take)[:16000] for number in (1, 7, 12) for take in (1, 2)]
    similar = [np.abs(np.corrcoef(a[:16000], b)[0, 1]) for a in waves for b in clips]
    assert max(similar) < 0.5
