"""Files are tried in another process, once."""

import pytest

from dslite.models import guard

SCRIPT = """
for file in sys.argv[1:]:
    text = open(file).read()
    if text == "crash":
        os.write(2, b"note\\nheap corrupted\\n")
        os.abort()
    while text == "loop":
        pass
    assert text != "error", "not so"
"""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("good", ""),
        ("crash", "SIGABRT, heap corrupted"),
        ("error", "AssertionError: not so"),
        ("loop", "it takes too long to read"),
    ],
)
def test_a_file_is_tried_in_another_process(tmp_path, monkeypatch, content, reason):
    monkeypatch.setattr(guard, "CPU_S", 1)
    (tmp_path / "a").write_text(content)
    assert guard.failure(SCRIPT, [tmp_path / "a"]) == reason


def test_a_content_is_tried_once_and_a_trusted_one_never(cache, tmp_path, monkeypatch):
    good, bad, trusted = (tmp_path / name for name in ("good", "crash", "error"))
    for file in (good, bad, trusted):
        file.write_text(file.name)
    guard.trust(SCRIPT, trusted)
    assert not guard.failure_once(SCRIPT, good)
    tried = []
    monkeypatch.setattr(guard, "failure", lambda script, files: tried.extend(files) or "reason")
    reasons = [guard.failure_once(SCRIPT, file) for file in (good, trusted, bad)]
    assert (reasons, tried) == (["", "", "reason"], [bad])
    assert guard.failure_once(SCRIPT + "#", good)  # another script
