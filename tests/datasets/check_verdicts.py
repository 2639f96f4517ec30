"""What tests of layouts ask of a corpus."""

import pytest

from dslite.datasets import checks, manifest
from dslite.datasets import listing as dataset_listing
from dslite.errors import InputError

BLINDED = "{0} of {0} test files have no label: this package keeps them back"


def verdict(card) -> tuple[dict, dict]:
    built = manifest.build(card)
    return checks.problems(built), checks.warnings(built)


def listing(card) -> dataset_listing.Listing:
    assert dataset_listing.is_present(card)
    return dataset_listing.read(card)


def layout_problems(card) -> list[str]:
    found, _ = verdict(card)
    assert set(found) <= {"layout", "partitions"}
    return found.get("layout", [])


def refusal(card) -> str:
    with pytest.raises(InputError) as error:
        dataset_listing.read(card)
    return str(error.value)
