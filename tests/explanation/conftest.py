"""Fixtures of the tests of explanations."""

import numpy as np
import pytest


@pytest.fixture
def hz():
    """Centres of 64 bands, evenly spaced on the HTK Mel scale, of a filter bank of 0 to 8 kHz."""
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 66)[1:-1]
    return 700 * (10 ** (mels / 2595) - 1)
