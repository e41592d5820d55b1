"""Curves that are fitted to points: a model of one independent variable or more, whose misfit is minimised."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.arguments import function_name
from jaxcalc.engine.family.residual import Residual, Setting, as_residuals
from jaxcalc.methods.least_squares.counts import Counts
from jaxcalc.methods.least_squares.linearization import Residuals


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Points:
    """What a curve is fitted to: the second of a problem's args where it is its own, the first of its shared arrays.

    Each field is None where it stands in the other of the two.

    Attributes:
        x: What the model takes as its first argument, an array or a pytree.
        y: The data, (m,).
        sigma: Their standard errors, which divide the residuals; a number or (m,). None in both is 1.
        whitening: A matrix (m, m) that multiplies the residuals, the inverse of the Cholesky factor of the data's
            covariance. None in both is none.
    """

    x: Any = None
    y: Any = None
    sigma: Any = None
    whitening: Any = None

    def completed(self, other: "Points") -> "Points":
        """Returns the points with what stands in the other."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Points(**{name: getattr(other, name) if own is None else own for name, own in fields.items()})


def values_of(model: Callable, x: Any, parameters: Array, shape: tuple[Any, ...] | None = None) -> Array:
    """Returns model(x, *parameters); a single number counts for all points of `shape`.

    Raises:
        TypeError: If the model does not return an array.
        ValueError: If `shape` is given and the model returns another.
    """
    output = model(x, *(parameters[k] for k in range(len(parameters))))
    try:
        output = jnp.asarray(output)
    except (TypeError, ValueError):
        raise TypeError(
            f"model must return one array of values, one for each point; {function_name(model)} returned a "
            f"{type(output).__name__}. Use jax.numpy in the model."
        ) from None
    if shape is None or output.shape == shape:
        return output
    if output.ndim:
        raise ValueError(
            f"model must return one value for each point: ydata has {shape[0]} points for each fit, but "
            f"{function_name(model)}(xdata, *p) returned an array of shape {output.shape}."
        )
    return jnp.broadcast_to(output, shape)


class Curve(Residual):
    """model(x, *p), whose differences to the data, in units of their standard errors, are the residuals."""

    @staticmethod
    def made_of(fun: Callable) -> Callable:
        """Returns (p, own setting, own points, common points, common setting) -> the residuals of a model `fun`."""

        def residuals(p: Array, own: Setting, points: Points, others: Points, common: Setting) -> Residuals:
            points = points.completed(others)
            setting = own.completed(common)
            weights = setting.weights
            misfit = values_of(fun, points.x, p, points.y.shape) - points.y
            if points.whitening is not None:
                # The whitening joins points, so that a missing one has to be taken out before.
                misfit = misfit if weights is None else jnp.where(weights != 0, misfit, 0)
                misfit = jnp.sum(points.whitening * misfit, axis=1)
            elif points.sigma is not None:
                misfit = misfit / points.sigma
            return as_residuals(misfit, weights, setting.f_scale, setting.loss)

        return residuals


class CountCurve(Residual):
    """model(x, *p), the mean of counts with a Poisson distribution, whose likelihood is maximised."""

    @staticmethod
    def made_of(fun: Callable) -> Callable:
        """Returns (p, own setting, own points, common points, common setting) -> the `Counts` of a model `fun`."""

        def counts(p: Array, own: Setting, points: Points, others: Points, common: Setting) -> Counts:
            points = points.completed(others)
            weights = own.completed(common).weights
            mean = values_of(fun, points.x, p, points.y.shape)
            if jnp.iscomplexobj(mean):
                raise TypeError("the mean of counts must be real; the model returned complex values.")
            dtype = jnp.result_type(mean, points.y, jnp.float32)
            weights = None if weights is None else jnp.broadcast_to(weights, mean.shape).astype(dtype)
            return Counts(mean.astype(dtype), weights, counts=points.y.astype(dtype))

        return counts
