"""Train networks and baselines on a corpus; read what finished runs have reached."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "answers": [
            *("ablation_answers", "ablation_gains", "level_line", "phase_kept"),
        ],
        "baselines": ["train_baseline"],
        "cross_validation": ["against_baselines", "cross_validate"],
        "experiment": ["best_run", "train"],
        "loop": ["fit"],
        "runs": ["all_runs", "headline", "score_table"],
    },
)
