"""Many runs, on a laptop or a cluster."""
