"""What an error tells the user, asked by tests."""

import pytest

from dslite.errors import InputError


def refusal(function, *arguments, **named) -> str:
    """The one line that a refused call says."""
    with pytest.raises(InputError) as error:
        function(*arguments, **named)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)
