"""Audio -> Mel pictures, stored; functionals for the baseline."""
