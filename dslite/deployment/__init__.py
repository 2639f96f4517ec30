"""The file for the device: converted, measured, used."""
