"""Train networks and baselines on a corpus; read what finished runs have reached."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": ["train_baseline"],
        "cross_validation": ["against_baselines", "cross_validate"],
        "experiment": ["best_run", "gain_of_phase_2", "train"],
        "loop": ["fit"],
        "runs": ["all_runs", "headline"],
    },
)
