"""Convert models for a device, compare and profile them, predict files and streams."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "convert": ["convert_run", "agreement_table"],
        "predict": ["Predictor", "load_model", "predict_files"],
        "profile": ["profile_run", "profile_table", "pareto_figure"],
        "runtime": ["read_metadata"],
        "web": ["write_page"],
    },
)
