"""Fixtures of the tests of explanations."""

import numpy as np
import pytest


@pytest.fixture
def hz():
    """Centres of 64 bands, evenly spaced on the HTK Mel scale, of a filter bank of 0 to 8 kHz."""
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 66)[1:-1]
    return 700 * (10 ** (mels / 2595) - 1)


@pytest.fixture(scope="session")
def small_store(small_run, small_corpus, small_cache):
    """The small run's spectrograms. Tests only read them."""
    from dslite import cards
    from dslite.datasets import load_manifest
    from dslite.features import store

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DSLITE_CACHE", str(small_cache))
        manifest = load_manifest(cards.load(str(small_corpus)))
        return store.load_spectrograms(manifest, small_run.settings)
