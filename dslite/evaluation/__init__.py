"""Score predictions: arrays in, numbers out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "metrics": [
            *("bootstrap_interval", "calibration_error", "confusion_matrix", "evaluate"),
            *("recalls", "uar"),
        ],
        "confusion": ["confusion_table", "recall_table"],
    },
)
