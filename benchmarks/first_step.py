"""How long a first step in a box should be: poses of an arm of seven joints with limits, from the middle of them.

    python -m benchmarks.first_step [--poses 400]

The arm has the lengths and limits of a Franka Emika Panda. A pose is reached where the squared errors of position and,
with a factor of 0.1, of orientation add up to less than 1e-8. None is the method's own choice of the first step.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc

# Denavit's and Hartenberg's parameters, in metres and radians.
LENGTHS, OFFSETS = (0, 0, 0, 0.0825, -0.0825, 0, 0.088), (0.333, 0, 0.316, 0, 0.384, 0, 0)
TWISTS = np.array([0, -1, 1, 1, -1, 1, 1]) * np.pi / 2
LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
FIRST_STEPS = (None, 3.0, 1.0, 0.3, 0.1, 0.01)


def hand(angles):
    """Returns the position and the orientation of the hand, a vector of 12 numbers."""
    pose = jnp.eye(4)
    for i in range(7):
        c, s, ca, sa = jnp.cos(angles[i]), jnp.sin(angles[i]), np.cos(TWISTS[i]), np.sin(TWISTS[i])
        rows = [[c, -s, 0, LENGTHS[i]], [s * ca, c * ca, -sa, -OFFSETS[i] * sa], [s * sa, c * sa, ca, OFFSETS[i] * ca]]
        pose = pose @ jnp.array([*rows, [0, 0, 0, 1]])
    return jnp.concatenate([pose[:3, 3], pose[:3, :3].ravel()])


def whole_pose(angles, target):
    error = (hand(angles) - target) ** 2
    return jnp.sum(error[:3]) + 0.1 * jnp.sum(error[3:])


def position(angles, target):
    return jnp.sum((hand(angles) - target)[:3] ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_step", description="First steps in a box.")
    parser.add_argument("--poses", type=int, default=400, help="default 400")
    poses = parser.parse_args().poses
    jax.config.update("jax_enable_x64", True)
    random = np.random.default_rng(0)
    targets = jax.vmap(hand)(jnp.asarray(LOWER + (UPPER - LOWER) * random.random((poses, 7))))
    starts = np.tile((LOWER + UPPER) / 2, (poses, 1))
    for fun in (whole_pose, position):
        for first_step in FIRST_STEPS:
            method = jc.methods.bfgs(first_step=first_step)
            found = jc.minimize_many(fun, starts, (targets,), method=method, bounds=(LOWER, UPPER))
            reached = 100 * np.mean(np.asarray(found.fun) < 1e-8)
            evaluations = np.median(found.nfev)
            print(f"{fun.__name__}, first step {first_step}: {reached:.1f} % reached, {evaluations:.0f} evaluations")


if __name__ == "__main__":
    main()
