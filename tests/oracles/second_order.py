"""Rules that know of the loss's curvature, and are given gradients."""

import numpy as np

from oracles.common import at, moved


def barzilai_borwein(p, grads, learning_rate=1e-3, short=False):
    """Barzilai and Borwein (1988), Two-point step size gradient methods, equations 5 and 6."""
    last_p = last_g = None
    for t, g in enumerate(grads):
        alpha = at(learning_rate, t)
        if last_p is not None:
            dx, dg = p - last_p, g - last_g
            curvature = np.vdot(dx, dg)
            if curvature > 0:
                alpha = curvature / np.vdot(dg, dg) if short else np.vdot(dx, dx) / curvature
        last_p, last_g = p, g
        p = p - alpha * g
        p = moved(p, (yield {"param": p, "last_p": last_p, "last_g": last_g}))
