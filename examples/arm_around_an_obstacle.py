"""Many poses of an arm that reaches around a disc and stays above the table: constraints in every lane.

Four links turn in a plane. The hand has to be at a target, no link may touch the disc or the table, and of all poses
that obey the one that bends least is wanted. It may pass the disc on either side, so each target gets several starts.
`python examples/arm_around_an_obstacle.py --output folder` draws the poses by matplotlib.
"""

# %% The arm
import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc

jax.config.update("jax_enable_x64", True)
LINKS, DISC, RADIUS = np.array([1.0, 0.8, 0.6, 0.4]), np.array([0.9, 0.9]), 0.35


def joints(angles):
    """Returns the five joints, (5, 2), for the angles between each link and the one before it."""
    turned = jnp.cumsum(angles)
    steps = LINKS[:, None] * jnp.stack([jnp.cos(turned), jnp.sin(turned)], axis=1)
    return jnp.concatenate([jnp.zeros((1, 2)), jnp.cumsum(steps, axis=0)])


def bending(angles, target):
    return jnp.sum(angles[1:] ** 2) + 0.1 * (angles[0] - jnp.pi / 2) ** 2


# %% What a pose has to obey
def misses(angles, target):
    return joints(angles)[-1] - target


def clearances(angles):
    """The squared distance of each link from the disc, less its radius squared, and the height of its end."""
    first, last = joints(angles)[:-1], joints(angles)[1:]
    share = jnp.clip(jnp.sum((DISC - first) * (last - first), axis=1) / LINKS**2, 0, 1)
    gap = first + share[:, None] * (last - first) - DISC
    return jnp.concatenate([jnp.sum(gap**2, axis=1) - RADIUS**2, last[:, 1]])


# %% All targets at once
def main(arguments=None):
    parser = argparse.ArgumentParser(description="Poses of an arm around an obstacle.")
    parser.add_argument("--short", action="store_true", help="20 targets instead of 2,000")
    parser.add_argument("--output", type=Path, help="a folder for arm.png")
    options = parser.parse_args(arguments)
    targets = np.linspace([1.2, 1.4], [2.1, 0.3], 20 if options.short else 2000)
    starts = np.array([[2.2, -0.8, -0.8, -0.4], [0.2, 0.5, 0.3, 0.2], [1.5, -0.6, -0.6, 0.3], [0.7, 0.6, -0.8, 0.3]])
    x0 = np.broadcast_to(starts, (len(targets), *starts.shape))
    constraints = [{"type": "eq", "fun": misses}, {"type": "ineq", "fun": clearances}]
    result = jc.minimize_many(bending, x0, (targets,), constraints=constraints, bounds=(-2.5, 2.5), starts=len(starts))
    least, miss = jax.vmap(clearances)(result.x).min(), jnp.abs(jax.vmap(misses)(result.x, targets)).max()
    print(f"{result.success.sum()} of {len(targets)} reached; least clearance {least:.1e}, largest miss {miss:.1e}")
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        draw(options.output, result, targets)
    return result, targets


def draw(folder, result, targets):
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 5))
    axes.fill(*(DISC[:, None] + RADIUS * np.stack([np.cos(t := np.linspace(0, 7, 200)), np.sin(t)])), color="tab:gray")
    for k in np.flatnonzero(result.success)[np.linspace(0, int(result.success.sum()) - 1, 9).astype(int)]:
        axes.plot(*np.asarray(joints(result.x[k])).T, marker="o", markersize=3)
    axes.plot(*targets.T, ":", color="black")
    axes.axhline(0, color="black")
    axes.set(title="Around the disc (dotted: targets)", aspect="equal", xlabel="metres", ylabel="metres")
    figure.savefig(folder / "arm.png", dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main()
