"""Networks of random weights that behave as pre-trained ones do."""

import numpy as np


def alive(network, seed=0, first=1.0):
    """Random weights through which a signal passes, with statistics that matter.

    ``first`` scales SqueezeNet's first filters, which see values to about 130.
    """
    drawn = np.random.default_rng(seed)
    for variable in network.weights:
        shape, name = variable.shape, variable.path.rpartition("/")[2]
        if len(shape) == 4:
            inputs = np.prod(shape[:2] if "depthwise" in variable.path else shape[:-1])
            size = np.sqrt(2 / inputs) * (first if variable.path.startswith("conv1/k") else 1)
            variable.assign(drawn.normal(0, size, shape))
        elif name in ("gamma", "moving_variance"):
            variable.assign(drawn.uniform(0.7, 1.4, shape))
        else:
            variable.assign(drawn.normal(0, 0.3, shape))
    return network
