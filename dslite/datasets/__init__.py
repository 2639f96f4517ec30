"""Read a corpus on disk into a manifest."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checks": ["findings", "load_manifest", "require_sound"],
        "download": ["fetch"],
        "manifest": ["Manifest", "counts", "table1_row", "write_partition"],
        "partitions": ["divide"],
    },
)
