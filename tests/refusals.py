"""What an error tells the user, asked by tests."""

import pytest

from dslite.errors import InputError


def refusal(function, *arguments, **named) -> str:
    """The one line that a refused call says."""
    with pytest.raises(InputError) as error:
        function(*arguments, **named)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def assert_refused(done, *words, worked=False):
    """Status 2, one message with these words and no traceback; no stdout, or some work before."""
    status, out, err = done
    assert (status, "" if worked else out) == (2, ""), err
    (message,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert worked or err.startswith("error: ")
    assert "Traceback" not in err
    assert [word for word in words if word not in (message if worked else err)] == []
