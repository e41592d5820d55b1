"""Terms that are added to a smooth objective although they have kinks: penalties on absolute values.

    minimise f(x) + sum_i p_i |x_i|

has kinks where variables are zero, which is where they end if p_i is large. With x = u - v and u, v >= 0 it is

    minimise f(u - v) + sum_i p_i (u_i + v_i),

smooth in a box, whose solutions have u_i = 0 or v_i = 0: methods that project on bounds find zeros exactly. A variable
without a penalty is u alone.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxcalc.core.arguments import as_floating, called_as
from jaxcalc.core.programs import joined
from jaxcalc.engine.family.scalar import require_value
from jaxcalc.engine.problem import Problem
from jaxcalc.methods.box import Box
from jaxcalc.methods.constrained.lagrangian import Constrained
from jaxcalc.optimize.arguments import in_form_of


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class L1:
    """The term sum_i p_i |x_i|; see `l1`."""

    penalty: Any

    def __call__(self, x: Any) -> Array:
        """Returns the term's value at x, whose form the penalty broadcasts against."""
        penalty = jax.tree.broadcast(self.penalty, x)
        return jax.tree.reduce(jnp.add, jax.tree.map(lambda p, leaf: jnp.sum(p * jnp.abs(leaf)), penalty, x))


@called_as("l1(penalty)", 0)
def l1(penalty: Any) -> L1:
    """The term sum_i p_i |x_i| for `minimize` and `minimize_many`, which makes solutions sparse.

    Added to the objective by `terms=`: its kinks at zero are known to the solver, which a function inside of fun would
    hide. Variables end at exactly zero where |df/dx_i| < p_i; elsewhere df/dx_i = -p_i sign(x_i). The result is
    differentiable with respect to the penalty: zeros stay zeros, and the others move as the implicit function theorem
    says.

    Args:
        penalty: p >= 0, a number, an array or a pytree that broadcasts against x, as a side of the bounds does; 0
            leaves a variable free of it. In `minimize_many` an array with as many axes as x0 holds the penalties of
            each problem: penalty[:, None] for one number each.

    Returns:
        The term; called with x it returns its value.

    Raises:
        ValueError: If a penalty is negative, not finite, or does not broadcast against x; by the solver.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> data = jnp.array([3.0, 0.4, -2.0])
        >>> result = jc.minimize(lambda x: 0.5 * jnp.sum((x - data) ** 2), jnp.zeros(3), terms=jc.l1(0.5))
        >>> result.x.round(3).tolist(), round(float(result.fun), 3)
        ([2.5, 0.0, -1.5], 2.33)

    Source: R. Tibshirani, Regression shrinkage and selection via the lasso (1996); the split: M. Figueiredo, R. Nowak
    and S. Wright, Gradient projection for sparse reconstruction (2007).
    """
    return L1(penalty)


class Split(NamedTuple):
    """A problem with terms as one without: of u and v, its function, and the way back.

    Attributes:
        fun: f(u - v) + sum p (u + v).
        problem: The problem of u and v.
        back: Makes a result of u and v one of x.
    """

    fun: Callable
    problem: Problem
    back: Callable[[Any], Any]


def split(fun: Callable, problem: Problem, terms: Any, *, has_aux: bool, batch: bool, starts: int | None) -> Split:
    """Returns the problem of u and v; without terms the problem as it is.

    Args:
        fun: The function of x that the engine takes.
        problem: The problem of x, whose box and scale have the form of x with leaves (1, ...) or (N, ...).
        terms: None, an `L1` or a list of them, whose penalties add up.
        has_aux: Whether fun returns (value, anything).
        batch: Whether x0 has a leading axis of problems.
        starts: As in `minimize_many`.
    """
    if terms is None or (isinstance(terms, list | tuple) and not terms):
        return Split(fun, problem, lambda result: result)
    x0 = as_floating(problem.x0)
    one = x0 if starts is None else jax.tree.map(lambda leaf: leaf[:, 0], x0)
    penalty = _penalties(terms, one, batch)
    rows = max(len(leaf) for leaf in jax.tree.leaves(penalty))
    each = batch and rows > 1
    if each:
        penalty = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (rows, *leaf.shape[1:])), penalty)
    axes = 0 if not batch else 1 if starts is None else 2
    sides = (problem.box.lower, problem.box.upper) if problem.box.is_bounded else (-jnp.inf, jnp.inf)
    z0, box = _halves(x0, penalty, *sides, axes)
    own = penalty if each else jax.tree.map(lambda leaf: leaf[0], penalty)
    inputs = {"args": (own, *problem.args)} if each or not batch else {"shared": (own, *problem.shared)}
    position = 0 if each or not batch else len(problem.args)
    scale = None if problem.scale is None else (problem.scale, problem.scale)
    whole = joined(_WithL1, [fun], position, has_aux)
    half = problem._replace(x0=z0, box=box, scale=scale, **inputs)
    return Split(whole, half, lambda result: _of_x(result, penalty, box, batch))


class _WithL1:
    """(z, ...) -> f(u - v) + sum p (u + v), z being (u, v); the penalty is the operand at `position`."""

    def __init__(self, references: Sequence[Callable], position: int, has_aux: bool):
        (self._reference,), self._position, self._has_aux = references, position, has_aux
        self.__name__ = getattr(self._reference(), "__name__", "fun")

    def __call__(self, z: Any, *inputs: Any) -> Any:
        (u, v), k = z, self._position
        output: Any = self._reference()(jax.tree.map(jnp.subtract, u, v), *inputs[:k], *inputs[k + 1 :])
        if self._has_aux and not (isinstance(output, tuple) and len(output) == 2):
            raise TypeError(f"with has_aux=True fun must return (value, anything); it returned {output}.")
        value: Any = output[0] if self._has_aux else output
        # A penalty that only turns out to be negative makes its problem invalid.
        parts = jax.tree.map(lambda p, a, b: jnp.sum(jnp.where(p >= 0, p, jnp.nan) * (a + b)), inputs[k], u, v)
        term = jax.tree.reduce(jnp.add, parts)
        if isinstance(value, Constrained):
            value = dataclasses.replace(value, value=value.value + term)
        else:
            require_value(jax.eval_shape(lambda: value))
            value = value + term
        return (value, output[1]) if self._has_aux else value


def _penalties(terms: Any, x: Any, batch: bool) -> Any:
    """Returns the sums of the terms' penalties in the form of x, leaves (1, ...) or (N, ...)."""
    several = terms if isinstance(terms, list | tuple) else [terms]
    total = None
    for term in several:
        if not isinstance(term, L1):
            raise TypeError(
                f"terms is what jaxcalc.l1(penalty) returns, or a list of that; it is a {type(term).__name__}."
            )
        own = in_form_of("the penalty of l1", term.penalty, 0.0, x, batch)
        for path, leaf in jax.tree_util.tree_leaves_with_path(own):
            if not isinstance(leaf, Tracer) and not np.all((np.asarray(leaf) >= 0) & np.isfinite(leaf)):
                where = jax.tree_util.keystr(path)
                raise ValueError(f"the penalty of l1{where} must be at least 0 and finite; it is {term.penalty}.")
        total = own if total is None else jax.tree.map(jnp.add, total, own)
    return total


@partial(jax.jit, static_argnums=4)
def _halves(x: Any, penalty: Any, lower: Any, upper: Any, axes: int) -> tuple[Any, Box]:
    """Returns u and v at the start, and their box; the leaves of x have `axes` axes before those of one problem's x."""

    def start(x: Array, p: Array) -> tuple[Array, Array]:
        p = p[0] if axes == 0 else p[:, None] if axes == 2 else p
        split = jnp.broadcast_to(p > 0, x.shape)
        return jnp.where(split, jnp.maximum(x, 0), x), jnp.where(split, jnp.maximum(-x, 0), 0)

    def sides(p: Array, low: Any, high: Any) -> tuple[Array, ...]:
        u = jnp.where(p > 0, jnp.maximum(low, 0), low), jnp.where(p > 0, jnp.maximum(high, 0), high)
        v = jnp.where(p > 0, jnp.maximum(-high, 0), 0), jnp.where(p > 0, jnp.maximum(-low, 0), 0)
        return *u, *v

    structure = jax.tree.structure(x)

    def transposed(pairs: Any, count: int) -> Any:
        return jax.tree.transpose(structure, jax.tree.structure((0,) * count), pairs)

    low, high = (jax.tree.broadcast(side, x) for side in (lower, upper))
    z = transposed(jax.tree.map(start, x, penalty), 2)
    low_u, high_u, low_v, high_v = transposed(jax.tree.map(sides, penalty, low, high), 4)
    return z, Box((low_u, low_v), (high_u, high_v))


@partial(jax.jit, static_argnums=3)
def _of_x(result: Any, penalty: Any, box: Box, batch: bool) -> Any:
    """Returns the result of u and v as that of x: jac is the gradient of f, and fun the value with the terms."""
    u, v = result.x
    p, low, high = (side if batch else jax.tree.map(lambda leaf: leaf[0], side) for side in (penalty, *box))
    parted = [jax.tree.map(lambda p, a, b: jnp.where(p > 0, jnp.minimum(a, b), 0), p, u, v)]
    x = jax.tree.map(jnp.subtract, u, v)
    fields: dict[str, Any] = {"jac": jax.tree.map(lambda a, b: 0.5 * (a - b), *result.jac)}
    nu = getattr(result, "bound_multipliers", None)
    if nu is not None:
        x = jax.tree.map(_without_held, x, u, v, *nu)
        fixed_u, fixed_v = (jax.tree.map(jnp.equal, low[k], high[k]) for k in range(2))
        fields["bound_multipliers"] = jax.tree.map(_multiplier, *nu, fixed_u, fixed_v)

    def total(p: Array, less: Array) -> Array:
        return jnp.sum(2 * p * less, axis=tuple(range(int(batch), less.ndim)))

    # Where u and v are both positive, which no solution has, their sum exceeds |x|.
    excess = jax.tree.reduce(jnp.add, jax.tree.map(total, p, parted[0]))
    return dataclasses.replace(result, x=x, fun=result.fun - excess.astype(result.fun.dtype), **fields)


def _without_held(x: Array, u: Array, v: Array, of_u: Array, of_v: Array) -> Array:
    """Returns x, exactly zero where both halves are nearer to their bounds, 0, than their multipliers are large."""
    held = jax.lax.stop_gradient((of_u > u) & (of_v > v) & (u >= 0) & (v >= 0))
    return jnp.where(held, 0, x)


def _multiplier(of_u: Array, of_v: Array, fixed_u: Array, fixed_v: Array) -> Array:
    """Returns the multiplier of x's own bounds: those of u and v at 0 belong to the kink, unless one is fixed."""
    both = jnp.minimum(of_u, 0) - jnp.minimum(of_v, 0)
    return jnp.where(fixed_v, of_u, jnp.where(fixed_u, -of_v, both))
