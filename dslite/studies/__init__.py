"""Run many configurations, on a laptop or a cluster, and tabulate, archive and repeat them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "archive": ["collect", "write_archive", "write_record"],
        "jobs": ["study_jobs", "study_runs"],
        "study": ["expand", "load_study"],
        "tables": ["to_markdown", "write_tables"],
    },
)
