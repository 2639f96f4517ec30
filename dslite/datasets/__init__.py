"""A corpus on disk -> a manifest."""
