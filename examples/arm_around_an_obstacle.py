"""Many poses of an arm that reaches around a disc and stays above the table: constraints in every lane.

Four links turn in a plane. The hand has to be at a target, no link may touch the disc or the table, and of all poses
that obey the one that bends least is wanted. It may pass the disc on either side, so each target gets several starts.
Run it with `python examples/arm_around_an_obstacle.py`.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="20 targets, not 2,000")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% The arm
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


CONSTRAINTS = [{"type": "eq", "fun": misses}, {"type": "ineq", "fun": clearances}]


# %% All targets at once
side = np.linspace(0, 1, 20 if options.short else 2000)
targets = np.stack([1.2 + 0.9 * side, 1.4 - 1.1 * side], axis=1)
starts = np.array([[2.2, -0.8, -0.8, -0.4], [0.2, 0.5, 0.3, 0.2], [1.5, -0.6, -0.6, 0.3], [0.7, 0.6, -0.8, 0.3]])
x0 = np.broadcast_to(starts, (len(targets), *starts.shape))
result = jc.minimize_many(bending, x0, (targets,), constraints=CONSTRAINTS, bounds=(-2.5, 2.5), starts=len(starts))
least, miss = jax.vmap(clearances)(result.x).min(), jnp.abs(jax.vmap(misses)(result.x, targets)).max()
print(f"{result.success.sum()} of {len(targets)} reached; least clearance {least:.1e}, largest miss {miss:.1e}")

# %%
ax = Figure(figsize=(6, 5)).subplots()
turn = np.linspace(0, 2 * np.pi, 200)
ax.fill(*(DISC[:, None] + RADIUS * np.stack([np.cos(turn), np.sin(turn)])), color="tab:gray")
for k in np.flatnonzero(result.success)[np.linspace(0, int(result.success.sum()) - 1, 9).astype(int)]:
    ax.plot(*np.asarray(joints(result.x[k])).T, marker="o", markersize=3)
ax.plot(*targets.T, ":", color="black")
ax.axhline(0, color="black")
ax.set(title="Around the disc (dotted: targets)", aspect="equal", xlabel="metres", ylabel="metres")
ax.figure.savefig(options.output / "arm.png", dpi=150, bbox_inches="tight")
print(f"picture: {options.output / 'arm.png'}")
