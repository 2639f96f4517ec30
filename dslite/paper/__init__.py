"""Lay what was reproduced beside every number that the paper prints."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "report": ["gather", "headlines", "results", "sheets", "write_results"],
        "reproduction": ["ablation_block", "summary"],
        "tables": ["to_html"],
    },
)
