"""Explain what a network listens to, and test how true the explanations are."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "methods": ["ExplainedModel", "Explanation", "explain"],
        "files": [
            *("ExplainedFile", "choose_by_rule", "explain_files", "load_model"),
            "split_sound",
        ],
    },
)
