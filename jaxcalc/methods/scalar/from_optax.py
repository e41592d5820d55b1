"""Any optimiser of Optax as a method: each lane runs it with a state of its own.

The one method that is not written for lanes: a transformation of Optax is written for one problem, so it is mapped
over the lanes. What its state holds for one problem, a count of steps or a matrix, it then holds for every lane.
"""

import dataclasses
import functools
import inspect
import itertools
import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Iterate, Method, register
from jaxcalc.methods.needs import Evaluation
from jaxcalc.methods.scalar.gradient_descent import move_if_finite

if TYPE_CHECKING:
    import optax


VALUE_FN = "value_fn"
ASKS_FOR_VALUE_FN = "this optimiser of Optax asks for value_fn, to evaluate the function inside its update"


class FromOptaxState(NamedTuple):
    """The iterate and the state of the optimiser."""

    iterate: Iterate
    optimizer: Any  # Optax's, every leaf with its lanes last


class ByIdentity:
    """A transformation, equal only to itself: those of Optax are pairs of closures, made anew at every call."""

    def __init__(self, transformation: "optax.GradientTransformation"):
        """Keeps it alive, so that its identity is not given to another."""
        self.transformation = transformation

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and self.transformation is other.transformation

    def __hash__(self) -> int:
        return id(self.transformation)


class Form(NamedTuple):
    """The structure and the shapes that a flat vector stands for."""

    structure: Any
    shapes: tuple[Any, ...]


@register
@dataclasses.dataclass(frozen=True)
class FromOptax(Method):
    """An optimiser of Optax; see `from_optax`."""

    takes = "gradients, the optimiser's own state"
    suits = "the optimiser's own problems"
    has_fixed_rate = True
    learns_curvature = False
    compares_variables = False

    optimizer: ByIdentity = dataclasses.field(metadata={"static": True})
    form: Form | None = dataclasses.field(metadata={"static": True})

    def init(self, x0: Array, box: Box) -> FromOptaxState:
        """Returns the state whose trial is the start, or raises a TypeError where the optimiser cannot be a method."""
        dtypes = self._steady_dtypes(jax.ShapeDtypeStruct(x0.shape[:1], x0.dtype))
        optimizer = jax.vmap(lambda x: _cast(self._begin(x), dtypes), in_axes=-1, out_axes=-1)(x0)
        return FromOptaxState(Iterate.at_start(x0), optimizer)

    def step(self, state: FromOptaxState, evaluation: Evaluation, box: Box) -> FromOptaxState:
        """Moves to the trial if it is finite and asks the optimiser for the next point."""
        at, finite = move_if_finite(state.iterate, evaluation, box)
        advance = jax.vmap(self._advance, in_axes=-1, out_axes=-1)
        trial, optimizer = advance(at.gradient, state.optimizer, at.x, at.value)
        trial, optimizer = box.project(trial), _cast(optimizer, _dtypes(state.optimizer))
        # A step of zero alone is no end: it may belong to a schedule, or to gradients that are being gathered.
        at_rest = jnp.all(trial == at.x, axis=0) & _unchanged(optimizer, state.optimizer)
        return FromOptaxState(at._replace(trial=trial, stalled=~finite | at_rest), optimizer)

    def default_maxiter(self, n: int) -> int:
        """Returns 10,000: an optimiser for noisy gradients takes many short steps, in any dimension."""
        return 10_000

    def _begin(self, x: Array) -> Any:
        """Returns the optimiser's state for one problem."""
        return self.optimizer.transformation.init(self._shaped(x))

    def _advance(self, gradient: Array, state: Any, x: Array, value: Array) -> tuple[Array, Any]:
        """Returns one problem's next point and the optimiser's next state."""
        import optax

        update = self.optimizer.transformation.update
        grads, params = self._shaped(gradient), self._shaped(x)
        updates, state = update(grads, state, params, **accepted(update, value=value, grad=grads))
        return self._flat(optax.apply_updates(params, updates)), state

    def _shaped(self, flat: Array) -> Any:
        """Returns x or a gradient in the form that the optimiser is to see."""
        if self.form is None:
            return flat
        ends = list(itertools.accumulate(math.prod(shape) for shape in self.form.shapes))
        if ends[-1:] != [flat.size]:
            raise ValueError(f"x0 has {flat.size} variables, but `like` has the shapes {self.form.shapes}")
        leaves = zip(jnp.split(flat, ends[:-1]), self.form.shapes, strict=True)
        return jax.tree.unflatten(self.form.structure, [leaf.reshape(shape) for leaf, shape in leaves])

    def _flat(self, shaped: Any) -> Array:
        return shaped if self.form is None else ravel_pytree(shaped)[0]

    def _steady_dtypes(self, x: jax.ShapeDtypeStruct) -> Any:
        """Returns the dtypes of a state that an update leaves as they are; runs while a program is traced.

        A loop in Python does not mind a state that begins in one dtype and goes on in another; a compiled one does.
        """
        value = jax.ShapeDtypeStruct((), x.dtype)
        try:
            state = jax.eval_shape(self._begin, x)
            while True:
                _, after = jax.eval_shape(self._advance, x, state, x, value)
                wider = jax.tree.map(_wider, state, after)
                if jax.tree.leaves(wider) == jax.tree.leaves(state):
                    return _dtypes(wider)
                state = wider
        except Exception as error:
            raise TypeError(_why_not(error, x.size)) from error


def from_optax(transformation: "optax.GradientTransformation", like: Any = None) -> FromOptax:
    """Any optimiser of Optax, run by each lane with a state of its own.

        u, s <- update(gradient, s, x, value=value, grad=gradient),    x <- x + u

    from s = init(x0), whatever the value does: x is the last iterate, as a loop written by hand with Optax gives it
    after as many iterations. `method=optax.adam(1e-2)` is short for `method=from_optax(optax.adam(1e-2))`.

    Two optimisers are equal only if they are the same object, since Optax makes new functions at every call. Make it
    once and hand it over each time: an optimiser made anew on every call compiles again on every call, and is kept as
    long as the compiled program. Its numbers are constants of the program.

    A problem ends STALLED where neither x nor the optimiser's state changes any more. A step of zero alone does not end
    it, since a schedule may begin at zero and gradients may be gathered over several steps (`optax.MultiSteps`); an
    optimiser that counts its steps, as Adam does, therefore runs to maxiter where its steps have become too short to
    move x. Random numbers are the same in every lane.

    Args:
        transformation: The optimiser, an `optax.GradientTransformation`. Its update gets `value` and `grad` where it
            takes them. Static.
        like: One problem's start, an array or a pytree of arrays of which only the form counts. Without it the
            optimiser sees all variables as one flat vector, which is the same to any that treats every component alike
            or takes norms over all of them. An optimiser that tells leaves apart, by labels, masks, norms of leaves or
            their rows and columns (`optax.partition`, `masked`, `lamb`, `adafactor`, `contrib.muon`), needs it.

    Returns:
        The method, for `minimize(..., method=...)`.

    Raises:
        TypeError: If this is not a transformation of Optax; and, when a program is traced with it, if its update asks
            for `value_fn` or fails on the variables.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> import optax
        >>> adam = optax.adam(0.1)
        >>> starts = jnp.array([[-1.0], [0.0], [5.0]])
        >>> result = jc.minimize_many(lambda x: jnp.sum((x - 3) ** 2), starts, method=adam)
        >>> result.x.round(2).tolist()
        [[3.0], [3.0], [3.0]]

    Source: DeepMind, The DeepMind JAX Ecosystem (2020), for Optax; D. Kingma and J. Ba, Adam: a method for stochastic
    optimization (2015), for the example.
    """
    import optax

    if not isinstance(transformation, optax.GradientTransformation):
        raise TypeError(
            "from_optax takes an optax.GradientTransformation, such as optax.adam(1e-2), "
            f"not a {type(transformation).__name__}."
        )
    leaves, structure = jax.tree.flatten(like)
    form = None if like is None else Form(structure, tuple(jnp.shape(leaf) for leaf in leaves))
    return FromOptax(ByIdentity(transformation), form)


def accepted(update: Callable, **given: Any) -> dict[str, Any]:
    """Returns what of this an update takes: its type does not tell, for some that say they take more take no more."""
    parameters = inspect.signature(update).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return {name: value for name, value in given.items() if takes_any or name in parameters}


def _dtypes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.dtype, tree)


def _cast(tree: Any, dtypes: Any) -> Any:
    """Returns the leaves in these dtypes; a leaf that has its dtype stays as it is, weakly typed or not."""

    def cast(leaf, dtype):
        leaf = jnp.asarray(leaf)
        return leaf if leaf.dtype == dtype else leaf.astype(dtype)

    return jax.tree.map(cast, tree, dtypes)


def _wider(before: jax.ShapeDtypeStruct, after: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Returns what can hold an entry of the state before and after an update."""
    if before.shape != after.shape:
        raise ValueError(f"an entry of its state has shape {before.shape} before an update and {after.shape} after it")
    if before.dtype == after.dtype:
        return before
    return jax.ShapeDtypeStruct(before.shape, jnp.promote_types(before.dtype, after.dtype))


def _unchanged(new: Any, old: Any) -> Array | bool:
    """Returns whether a lane's entries are all the same, as (L,)."""
    same = jax.tree.map(lambda new, old: jnp.all(new == old, axis=tuple(range(new.ndim - 1))), new, old)
    return functools.reduce(operator.and_, jax.tree.leaves(same), True)


def _why_not(error: Exception, size: int) -> str:
    if VALUE_FN in str(error):
        return (
            f"{ASKS_FOR_VALUE_FN}; a method takes one evaluation a step, so that no lane waits for another's search. "
            'Use method="lbfgs", or leave the line search out: optax.lbfgs(..., linesearch=None).'
        )
    reason = next(iter(str(error).splitlines()), "")
    return (
        f"this optimiser of Optax cannot be a method: given value and grad, it failed on {size} variables with "
        f"{type(error).__name__}: {reason} (It sees one flat vector, unless from_optax(transformation, like=x0) says "
        "in which form it is to see x.)"
    )
