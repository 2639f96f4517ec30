"""ImageNet backbones, and the classifiers built on them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "backbones": ["build_backbone"],
        "classifier": ["AReLU", "build_classifier", "feature_extractor", "load_classifier"],
    },
)
