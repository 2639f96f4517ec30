"""Fixtures of the tests of explanations."""

import numba
import pytest

# Compiling shap's loops takes a process longer than all of these tests run them.
numba.config.DISABLE_JIT = True
import shap  # noqa: E402, F401

numba.config.DISABLE_JIT = False


@pytest.fixture(autouse=True)
def plain_lists(monkeypatch):
    """What is not compiled has lists of Python's own."""
    monkeypatch.setattr("numba.typed.List", list)
