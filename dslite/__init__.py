"""DeepSpectrumLite, reproduced: from raw audio through Mel spectrogram images to the device."""

__version__ = "0.1.0"
