"""Reading YAML the way a card's author means it."""

from pathlib import Path
from typing import Any

import yaml

from dslite.errors import InputError


class _Yaml(yaml.SafeLoader):
    """YAML in which ``on``, ``off``, ``yes`` and ``no`` are words, as in YAML 1.2: a setting has
    the value ``on``, and a corpus may have the class ``no``.
    """


_Yaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if first in "tTfF" or not tag.endswith("bool")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_value(text: str) -> Any:
    """YAML text as a value: ``3``, ``true``, ``null``, ``[a, b]``, words."""
    return yaml.load(text, Loader=_Yaml)


def read(path: Path) -> dict[str, Any]:
    """A file of ``key: value`` lines as a mapping.

    Raises
    ------
    InputError
        The file is not readable, not YAML or not a mapping.
    """
    try:
        content = read_value(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected 'key: value' lines, found {type(content).__name__}")
    return content
