"""The result of least squares, with SciPy's names."""

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.engine.family.residual import FitRows
from jaxcalc.engine.result import NOT_YET, OptimizeResult, X
from jaxcalc.engine.status import Status
from jaxcalc.methods.box import Box
from jaxcalc.methods.units import needs_units

SUCCESS_WORDS = (
    "the fall of the cost that the linear model promises is a small share of the residuals' variance, "
    "or lost in rounding, or the gradient is at most gtol"
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class LeastSquaresResult(OptimizeResult[X]):
    """How one problem of least squares ended, or N: then every field has a leading axis N, in the order of the input.

    A frozen pytree with all that an `OptimizeResult` does; `fun` and `jac` are what they are in SciPy.

    Attributes:
        x: The minimiser, in the form and dtypes of the start; the best answer there is where the problem failed.
        fun: The residuals at x as fun returns them; of a batch None unless residuals=True was given.
        jac: Their Jacobian at x, (m, n) with the weights and the loss in it, so that jac' jac approximates the Hessian
            of the cost; of complex residuals the real parts' rows come first. Of a batch None unless residuals=True.
        status: An integer code of `Status`. SUCCESS promises what `least_squares` says.
        nit: Iterations: steps that were accepted.
        nfev: Evaluations of residuals and Jacobian together, rejected trials included.
        cost: Half the sum of squares at x, weights and loss included.
        grad: Its gradient at x, in the form of x.
        optimality: The largest component of the gradient, with bounds that of x - P(x - grad), P being the projection
            on the box.
    """

    jac: Array
    cost: Array = NOT_YET
    grad: X = NOT_YET
    optimality: Array = NOT_YET

    @property
    def message(self) -> str:
        """What the status says in words; of a batch, a line for each status that occurs. Made on the host."""
        return super().message.replace(Status.SUCCESS.words, SUCCESS_WORDS)

    def where_success(self, fill: Any) -> Self:
        """Returns the result with its floating fields replaced by `fill` where a problem did not succeed."""
        return self._filled(fill, ("x", "fun", "jac", "cost", "grad", "optimality"))

    def to_pandas(self) -> Any:
        """Returns a batch as a pandas DataFrame: a row for each problem, a column for each component of x."""
        frame: Any = dataclasses.replace(self, fun=self.cost, jac=None)  # pyright: ignore[reportArgumentType]
        return OptimizeResult.to_pandas(frame).rename(columns={"fun": "cost"})

    def _derivatives_fail(self) -> bool:
        # `fun` and `jac` hold residuals, or nothing.
        plain: Any = dataclasses.replace(self, fun=self.cost, jac=self.grad)  # pyright: ignore[reportArgumentType]
        return OptimizeResult._derivatives_fail(plain)

    def _names(self) -> list[str]:
        names = ["x", "cost", "grad", "optimality", "fun", "jac", "status", "nit", "nfev"]
        return [name for name in names if getattr(self, name) is not None]


def as_least_squares_result(result: OptimizeResult, rows: FitRows | None, sides: Box) -> LeastSquaresResult:
    """Returns what the caller gets of what the engine found, the residuals and their Jacobian, and the bounds."""
    gradient, output = jax.tree.map(_infinite_at_most, result.jac), None if rows is None else rows.output
    if sides.is_bounded:
        projected = jax.tree.map(
            lambda x, g, lower, upper: Box(lower, upper).projected_gradient(x, g), result.x, gradient, *sides
        )
    else:
        projected = gradient
    # No problems have gradients of size zero, from which no other axis can be told.
    first = result.status.ndim
    largest = [jnp.max(jnp.abs(leaf), axis=tuple(range(first, leaf.ndim))) for leaf in jax.tree.leaves(projected)]
    return LeastSquaresResult(
        x=result.x,
        fun=output,  # pyright: ignore[reportArgumentType]
        jac=None if rows is None else rows.jacobian,  # pyright: ignore[reportArgumentType]
        status=result.status,
        nit=result.nit,
        nfev=result.nfev,
        agreed=result.agreed,
        cost=_infinite_at_most(result.fun),
        grad=gradient,
        optimality=jnp.max(jnp.stack(largest), axis=0),
    )


def _infinite_at_most(values: Any) -> Any:
    """Returns values that overflow as what they are: lanes stop at the largest number of single precision."""
    if not needs_units(values.dtype):
        return values
    return jnp.where(jnp.abs(values) >= jnp.finfo(values.dtype).max, jnp.sign(values) * jnp.inf, values)
