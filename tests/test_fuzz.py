"""Broken files of every kind that is read: used, or refused in a sentence; see `tests.fuzz`."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dslite.models import guard
from tests import fuzz

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A bench of each kind, made once; the environment is as before afterwards."""
    seconds = guard.CPU_S
    before, benches, guard.CPU_S = dict(os.environ), {}, 1

    def of(kind):
        if kind not in benches:
            benches[kind] = fuzz.Bench(kind, tmp_path_factory.mktemp("bench"))
        benches[kind].enter()
        return benches[kind]

    yield of
    os.environ.clear()
    os.environ.update(before)
    guard.CPU_S = seconds


@pytest.mark.parametrize("kind", fuzz.TARGETS)
def test_a_broken_file_is_used_or_refused_in_a_sentence(bench, kind, request):
    bench = bench(kind)
    few = "not slow" in request.config.option.markexpr  # `make test`
    inputs = bench.target.few if few else fuzz.MANY
    together = fuzz.TOGETHER if bench.target.hdf5 else 1

    @settings(
        max_examples=inputs // together, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(SEEDS)
    def each(first):
        seeds = range(together * first, together * (first + 1))
        if bench.target.hdf5:
            bench.try_together(seeds)
        for seed in seeds:
            bench.outcome(bench.broken(seed))

    each()
