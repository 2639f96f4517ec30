"""SapAugment, two phases, one run, folds, baselines."""
