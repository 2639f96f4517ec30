"""Audio to Mel spectrograms and pictures, stored; acoustic features for the SVM."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "spectrogram": ["mel_image", "panel_frequencies", "picture"],
        "store": [
            *("first_chunks", "load_spectrograms", "of_corpus", "sounding_s", "waveforms"),
        ],
        "functionals": ["acoustic_features"],
        "plots": ["draw_mel"],
    },
)
