"""Problems whose function returns residuals, whose squares are summed and minimised."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.arguments import as_floating
from jaxcalc.engine.family.family import Family, PyTree
from jaxcalc.engine.problem import Problem, Tolerances
from jaxcalc.engine.status import Status
from jaxcalc.engine.tangents import with_forward_mode
from jaxcalc.methods import least_squares
from jaxcalc.methods.box import Box
from jaxcalc.methods.lane_algebra import max_norm, norm
from jaxcalc.methods.least_squares.linearization import Residuals, linearized, residual_jacobian
from jaxcalc.methods.method import Iterate, Method

# Residuals are zero up to rounding where their norm is at most this many eps times that of what variables contribute to
# them; so is the part of them that the model could still remove.
ZERO, LOST = 4.0, 2.0
# SciPy's ftol counts a step only where the model predicted its fall: where the ratio of the two is above this.
ADEQUATE = 0.25


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Setting:
    """How residuals are weighed: the first of a problem's args where it is its own, the last of its shared arrays.

    Attributes:
        weights: How often each point counts, in the shape of what the residual function returns; None is once.
        f_scale: The scale of the residuals of a robust loss; None where it stands in the other setting.
        loss: The name of the loss.
    """

    weights: Any = None
    f_scale: Any = None
    loss: str = dataclasses.field(default="linear", metadata={"static": True})

    def completed(self, common: "Setting") -> "Setting":
        """Returns the setting of one problem, with what problems share where it has none of its own."""
        weights = common.weights if self.weights is None else self.weights
        return Setting(weights, common.f_scale if self.f_scale is None else self.f_scale, common.loss)


def with_setting(fun: Callable) -> Callable:
    """Returns (x, own, *args, *shared, common) -> fun(x, *args, *shared) as `Residuals`; own, common are settings."""

    def residuals(x: PyTree, own: Setting, *inputs: Any) -> Residuals:
        *others, common = inputs
        output = fun(x, *others)
        setting = own.completed(common)
        return as_residuals(output, setting.weights, setting.f_scale, setting.loss)

    return residuals


def as_residuals(output: Any, weights: Any, f_scale: Any, loss: str) -> Residuals:
    """Returns an array of residuals of any shape, real or complex, as one real vector."""
    if not isinstance(output, jax.Array) or output.ndim == 0 or not output.size:
        raise TypeError(_not_residuals(output))
    if weights is not None:
        weights = _weights_like(weights, output)
    vector = output.reshape(-1)
    if jnp.iscomplexobj(vector):
        # |r|^2 is the sum of both squares; a point counts as two real ones.
        vector = jnp.concatenate([vector.real, vector.imag])
        weights = None if weights is None else jnp.concatenate([weights, weights])
    vector = vector if jnp.issubdtype(vector.dtype, jnp.floating) else vector.astype(float)
    f_scale = None if loss == "linear" else jnp.asarray(f_scale, vector.dtype)
    return Residuals(vector, weights, f_scale, loss)


def _weights_like(weights: Array, output: Array) -> Array:
    try:
        wide = jnp.broadcast_to(weights, output.shape)
    except ValueError:
        raise ValueError(
            f"weights have shape {weights.shape} for each problem, but fun returns residuals of shape {output.shape}: "
            "give one weight for each residual. What differs between problems has a leading problem axis N."
        ) from None
    return wide.reshape(-1).astype(output.real.dtype if output.dtype != bool else float)


def _not_residuals(output: Any) -> str:
    if isinstance(output, jax.Array):
        given = f"an array of shape {output.shape}"
        mend = " For one number that is minimised, such as a sum of squares, use minimize." if output.ndim == 0 else ""
    else:
        given, mend = f"a {type(output).__name__}", " Join several arrays with jnp.concatenate; use jax.numpy in fun."
    return f"fun must return an array of residuals, one for each point; it returned {given}.{mend}"


class Residual(Family):
    """fun(x, *args, *shared) -> `Residuals`, half of whose (robust, weighted) sum of squares is minimised."""

    methods: ClassVar[Mapping[str, Callable[[], Method]]] = least_squares.REGISTRY
    judges_small_changes = True
    leaves_layout_to_fun = False

    @staticmethod
    def made_of(fun: Callable) -> Callable:
        """Returns fun with settings; see `with_setting`."""
        return with_setting(fun)

    @staticmethod
    def check_output(output: PyTree) -> None:
        """Does nothing: `as_residuals` has checked what fun returned."""

    def objective(self, output: Residuals) -> Array:
        """Returns the cost."""
        return output.cost

    def sized(self, method: Method) -> Method:
        """Returns the method for this number of variables and residuals."""
        sized: Any = super().sized(method)
        return sized.for_points(self.output_type.vector.size)

    def evaluate_at(
        self,
        needs: Any,
        points: tuple[Array, ...],
        args: tuple[Any, ...],
        shared: tuple[Any, ...],
        scale: Array | None = None,
    ) -> Any:
        """Returns the linear problems at points; as in `Family.evaluate_at`, with the lanes last throughout."""

        def function(inputs: tuple[Any, ...], z: Array) -> tuple[Residuals, PyTree]:
            args, scale = inputs
            return self.output(z if scale is None else z * scale, args, shared)

        return needs.evaluate_in_lanes(function, (args, scale), *points)

    def conclusions(self, state: Any, at: Iterate, box: Box, tolerances: Tolerances) -> Sequence[tuple[Status, Array]]:
        """Returns SUCCESS where nothing is left to gain, and where steps or gradients are as small as the caller asks.

        Nothing is left to gain where the fall that the linear model promises is lost in the variance of the residuals
        (`nothing_to_gain`); that depends on no units. gtol, ftol and xtol mean what they mean in SciPy, and are asked
        about only where the caller gives them; gtol is 0 where not.
        """
        small = max_norm(box.projected_gradient(at.x, at.gradient)) <= tolerances.gtol
        cases = [(Status.SUCCESS, nothing_to_gain(state.model) | (small & (tolerances.gtol > 0)))]
        last, judged = state.last, jnp.isfinite(state.last.square)
        ftol, xtol = tolerances.ftol, tolerances.xtol
        by_value = (ftol >= 0) & (last.fall < ftol * last.square) & (last.ratio > ADEQUATE)
        by_step = (xtol >= 0) & (last.length < xtol * (xtol + norm(state.iterate.x)))
        return [*cases, (Status.CONVERGED_VALUE, judged & by_value), (Status.CONVERGED_STEP, judged & by_step)]

    def stationary(self, u: Array, args: tuple[Any, ...], shared: tuple[Any, ...]) -> tuple[Array, PyTree]:
        """Returns the cost, with derivatives that a missing point leaves alone even where its own are NaN."""
        residuals, aux = self.output(u, args, shared)
        if residuals.weights is not None:
            residuals = dataclasses.replace(residuals, vector=self._without_missing(u, args, shared))
        return residuals.cost, aux

    def _without_missing(self, u: Array, args: tuple[Any, ...], shared: tuple[Any, ...]) -> Array:
        """Returns the residuals, with zeros where a missing one or its derivative is not finite.

        In reverse mode the derivative of a function that is NaN at one point is NaN, whatever weight the point has.
        Therefore the derivative with respect to u is the Jacobian of forward mode, whose rows can be told apart.
        """

        def chosen(residuals: Residuals, finite: Array, values: Array) -> Array:
            present: Any = residuals.is_present
            return jnp.where(present | finite, values, 0)

        def of_args(u: Array, args: tuple[Any, ...], shared: tuple[Any, ...]) -> Array:
            return self.output(u, args, shared)[0].vector

        @jax.custom_jvp
        def vector(u: Array, args: tuple[Any, ...], shared: tuple[Any, ...]) -> Array:
            residuals, _ = self.output(u, args, shared)
            return chosen(residuals, jnp.isfinite(residuals.vector), residuals.vector)

        @vector.defjvp
        def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
            (u, args, shared), (du, dargs, dshared) = primals, tangents
            columns, (residuals, _) = residual_jacobian(lambda u: self.output(u, args, shared), u)
            finite = jnp.all(jnp.isfinite(columns), axis=0)
            of_others = jax.jvp(lambda *others: of_args(u, *others), (args, shared), (dargs, dshared))[1]
            tangent = jnp.sum(chosen(residuals, finite, columns) * du[:, None], axis=0)
            return vector(u, args, shared), tangent + chosen(residuals, jnp.isfinite(residuals.vector), of_others)

        return vector(u, args, shared)


def nothing_to_gain(model: Any) -> Array:
    """Returns where the fall of |r|^2 that the linear model promises is none that could be told, (L,).

    Either the root of that fall for each free variable is at most `most_offset` of the root of the residuals' variance,
    the relative offset of D. Bates and D. Watts (1981): the point is then so much nearer to the minimum than the
    standard errors are large. Or what the model could still remove of the residuals is their rounding error; or the
    residuals are zero up to rounding.
    """
    square = model.square
    eps = jnp.finfo(square.dtype).eps
    rest, degrees = square - model.promised, model.count - model.free
    by_variance = (degrees > 0) & (rest > 0)
    by_variance &= model.promised * degrees <= most_offset(square.dtype) ** 2 * model.free * rest
    by_rounding = model.promised <= (LOST * eps) ** 2 * model.size
    return (model.full_rank & (by_variance | by_rounding)) | (square <= (ZERO * eps) ** 2 * model.size)


def most_offset(dtype: Any) -> float:
    """Returns the most relative offset of a solved problem in a work dtype, the root of eps, at most 3e-5.

    The latter, in single precision, leaves three digits to a parameter whose standard error is ten times its size.
    """
    return min(float(jnp.finfo(dtype).eps) ** 0.5, 3e-5)


class FitRows(NamedTuple):
    """N linear problems at given points, rows first; what covariances are made of."""

    cost: Array  # (N,)
    residual: Array  # (N, m) of the linear problem, weights and loss included
    jacobian: Array  # (N, m, n), so that J'J approximates the Hessian of the cost
    count: Array  # (N,) points that are not missing
    output: Array  # (N, ...) what fun returned


def linearizations(functions: Sequence[Callable[..., Any]], _: Any, problem: Problem) -> FitRows:
    """Returns the linear problems at x0 of every problem of a queue; for `core.programs.compiled`."""
    fun = with_setting(functions[0])
    family = Residual.for_queue(fun, problem)

    def of_one(x: PyTree, args: tuple[Any, ...], shared: tuple[Any, ...]) -> FitRows:
        flat = family.ravel(jax.tree.map(lambda leaf: leaf[None], x))[:, 0]
        at, _ = linearized(lambda u: family.output(u, args, shared), flat)
        output = functions[0](x, *args[1:], *shared[:-1])
        return FitRows(at.value, at.residual, at.jacobian.T, at.count, output)

    rows = with_forward_mode(jax.vmap(of_one, in_axes=(0, 0, None)))
    return rows(as_floating(problem.x0), problem.args, problem.shared)
