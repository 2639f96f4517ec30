"""Every published number, ours beside it."""
