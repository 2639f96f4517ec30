"""The state of a training on disk: whole or not there, never half, never somebody else's."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from dslite.training import checkpoints
from dslite.training.checkpoints import State


@pytest.fixture
def state(rng):
    """A state with everything that a training keeps."""
    generator = np.random.default_rng(3)
    generator.normal(size=5)
    return State(
        {
            "variables": [
                rng.normal(size=(5000, 3)).astype(np.float32),
                np.float32(0.9).reshape(()),
                np.array([7, 4_000_000_000], np.uint32),  # of the dropout
                np.zeros((0, 4), np.float32),
            ],
            "optimizer": [np.array(12, np.int64), rng.normal(size=(2, 3, 4)), np.array([True])],
            "best": [],
        },
        {
            "history": [
                {"epoch": 1, "devel_score": float("nan"), "devel_loss": float("inf")},
                {"epoch": 2, "devel_score": 0.1 + 0.2, "devel_loss": 1 / 3},
            ],
            "order": generator.bit_generator.state,
        },
    )


@pytest.fixture
def file(tmp_path, state):
    """A stored state of the identity ``mine``."""
    checkpoints.save(tmp_path / "deep" / "state.npz", "mine", state)
    return tmp_path / "deep" / "state.npz"


def same(found, expected):
    """Whether two states are equal to the last bit."""
    if found.arrays.keys() != expected.arrays.keys():
        return False
    pairs = [
        (a, b)
        for group, arrays in expected.arrays.items()
        for a, b in zip(found.arrays[group], arrays, strict=True)
    ]
    equal = all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()) for a, b in pairs
    )
    return equal and json.dumps(found.facts) == json.dumps(expected.facts)  # NaN is NaN


def test_round_trip(file, state):
    found = checkpoints.load(file, "mine")
    assert same(found, state)
    assert found.arrays["best"] == []
    assert np.isnan(found.facts["history"][0]["devel_score"])
    assert found.facts["history"][1]["devel_score"] == 0.1 + 0.2
    assert [path.name for path in file.parent.iterdir()] == ["state.npz"]


def test_the_order_of_samples_goes_on(file):
    one, other = np.random.default_rng(3), np.random.default_rng(0)
    one.normal(size=5)
    other.bit_generator.state = checkpoints.load(file, "mine").facts["order"]
    np.testing.assert_array_equal(one.permutation(50), other.permutation(50))


def test_an_empty_state(tmp_path):
    checkpoints.save(tmp_path / "state.npz", "mine", State())
    assert checkpoints.load(tmp_path / "state.npz", "mine") == State({}, {})


def test_a_newer_state_stands_in_for_the_older(file, state):
    newer = State({"variables": state.arrays["variables"][:1]}, {"history": []})
    checkpoints.save(file, "mine", newer)
    assert same(checkpoints.load(file, "mine"), newer)


@pytest.mark.parametrize("identity", ["other", "", "mine ", "MINE"])
def test_another_identity(file, identity):
    assert checkpoints.load(file, identity) is None


def test_nothing_there(tmp_path):
    assert checkpoints.load(tmp_path / "state.npz", "mine") is None
    assert checkpoints.load(tmp_path / "none" / "state.npz", "mine") is None
    assert checkpoints.load(tmp_path, "mine") is None  # a folder


def plain_array():
    content = io.BytesIO()
    np.save(content, np.arange(3))
    return content.getvalue()


def archive(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def facts(**content):
    return np.frombuffer(json.dumps(content).encode(), np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"no archive at all" * 100,
        plain_array(),
        pickle.dumps({"identity": "mine"}),
        archive(variables=np.arange(3)),
        archive(json=np.arange(3)),
        archive(json=facts(lengths={}, facts={})),
        archive(json=facts(identity="mine", lengths={"best": 1}, facts={})),
        archive(json=facts(identity="mine", facts={})),
        archive(json=np.array([{"identity": "mine", "lengths": {}, "facts": {}}])),  # a pickle
    ],
)
def test_not_a_state(tmp_path, content):
    (tmp_path / "state.npz").write_bytes(content)
    assert checkpoints.load(tmp_path / "state.npz", "mine") is None


def test_truncated(file):
    content = file.read_bytes()
    for length in [*range(0, len(content), 997), len(content) - 1]:
        file.write_bytes(content[:length])
        assert checkpoints.load(file, "mine") is None


def test_a_flipped_bit(file, state, rng):
    """A bit that means nothing (a date) may be flipped; nothing else is taken up."""
    content = file.read_bytes()
    every = [
        *range(400),
        *rng.integers(0, len(content), 400),
        *range(len(content) - 900, len(content)),
    ]
    for place in every:
        broken = bytearray(content)
        broken[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(broken)
        found = checkpoints.load(file, "mine")
        assert found is None or same(found, state), f"byte {place}"


def test_a_flipped_bit_of_a_shape(file, state):
    """5000 rows become 1000: less is read than was written, and no sum is ever compared."""
    content = bytearray(file.read_bytes())
    place = content.index(b"(5000, 3)") + 1
    content[place] ^= 4
    assert content[place : place + 4] == b"1000"
    file.write_bytes(content)
    assert checkpoints.load(file, "mine") is None


def half(file, **arrays):
    content = io.BytesIO()
    np_savez(content, **arrays)
    file.write(content.getvalue()[: len(content.getvalue()) // 2])
    raise OSError("no space left on device")


np_savez = np.savez


def interrupted(file, **arrays):
    np_savez(file, **arrays)
    raise KeyboardInterrupt


@pytest.mark.parametrize(("fails", "error"), [(half, OSError), (interrupted, KeyboardInterrupt)])
def test_a_failure_while_writing_leaves_the_old_state(file, state, monkeypatch, fails, error):
    before = file.read_bytes()
    monkeypatch.setattr(checkpoints.np, "savez", fails)
    with pytest.raises(error):
        checkpoints.save(file, "mine", State({"variables": [np.zeros(3)]}, {"history": []}))
    assert file.read_bytes() == before
    assert same(checkpoints.load(file, "mine"), state)
    assert [path.name for path in file.parent.iterdir()] == ["state.npz"]
    with pytest.raises(error):
        checkpoints.save(file.with_name("first.npz"), "mine", State())
    assert checkpoints.load(file.with_name("first.npz"), "mine") is None


def test_there_is_no_pickle_in_it(file):
    with zipfile.ZipFile(file) as stored:
        for name in stored.namelist():
            array = np.load(io.BytesIO(stored.read(name)), allow_pickle=False)
            assert not array.dtype.hasobject


def test_what_json_cannot_hold_is_an_error_and_replaces_nothing(file, state):
    with pytest.raises(TypeError):
        checkpoints.save(file, "mine", State({}, {"history": [{"score": np.float32(1)}]}))
    assert same(checkpoints.load(file, "mine"), state)
