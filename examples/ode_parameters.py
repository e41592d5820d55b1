"""Parameters of a differential equation: predators and prey, fitted through the integration by a scan.

A Runge-Kutta method of fixed steps is a `jax.lax.scan`, so the residuals are a JAX function of the parameters, and all
populations are fitted in lanes. Run it with `python examples/ode_parameters.py`.
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
parser.add_argument("--short", action="store_true", help="4 populations, not 500")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise


# %% The equation of Lotka and Volterra, from (1, 0.5), in 100 steps up to the time 10. Every fifth step is observed.
def simulate(p):
    a, b, c, d = p

    def slope(z):
        return jnp.stack([a * z[0] - b * z[0] * z[1], -c * z[1] + d * z[0] * z[1]])

    def step(z, _):  # Runge and Kutta's of order 4, with steps of 0.1
        h = 0.1
        k1 = slope(z)
        k2 = slope(z + h / 2 * k1)
        k3 = slope(z + h / 2 * k2)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(z + h * k3))
        return z, z

    return jax.lax.scan(step, jnp.array([1.0, 0.5]), None, length=100)[1]


# %% The data: populations with parameters of their own, measured with an error of 5 %.
populations = 4 if options.short else 500
generator = np.random.default_rng(5)
truth = np.array([1.1, 0.8, 0.9, 0.7]) * generator.uniform(0.8, 1.2, (populations, 4))
data = np.asarray(jax.vmap(simulate)(truth))[:, 4::5] * np.exp(generator.normal(0, 0.05, (populations, 20, 2)))


# %% Relative errors are differences of logarithms; exp keeps the parameters positive.
def residual(q, data):
    return jnp.log(simulate(jnp.exp(q))[4::5]).ravel() - jnp.log(data).ravel()


fits = jc.least_squares_many(residual, np.zeros((populations, 4)), (data,))
print(fits.message)
off = np.exp(np.asarray(fits.x)) / truth - 1
print("median relative error of a, b, c, d:", *(f"{each:.1%}" for each in np.median(abs(off), axis=0)))

# %%
times, curves = 0.1 * np.arange(1, 101), simulate(jnp.exp(fits.x[0]))
ax = Figure(figsize=(6.5, 4.2), dpi=150, layout="constrained").add_subplot(title="Predators and prey, one population")
for k, name in enumerate(("prey", "predators")):
    ax.plot(times, curves[:, k], color=f"C{k}", label=f"{name}, fitted")
    ax.plot(times[4::5], data[0, :, k], "o", color=f"C{k}", markersize=4)
ax.set(xlabel="time [years]", ylabel="population [thousands]", ylim=(0, None))
ax.legend(frameon=False)
ax.figure.savefig(options.output / "populations.png")
print("picture:", options.output / "populations.png")
