"""What a family of problems is: the user's function as the engine sees it, and what follows from what it returns.

The engine knows flat vectors on lanes; the user's function takes pytrees of one problem. Both meet here and nowhere
else: a start is raveled when a lane takes its problem, and a result is unraveled when it is handed in.

A family is a subclass. It says which number is minimised (`objective`), when SUCCESS is reached (`conclusions`), of
which function the solution is a stationary point (`stationary` and what belongs to it: derivatives of solutions), and
what a result holds besides (`fields`).
"""

import abc
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxcalc.core.arguments import as_floating, returning_arrays
from jaxcalc.core.lanes_last import in_its_layout, is_mapped
from jaxcalc.core.shards import type_of_one
from jaxcalc.core.tracing import Traced
from jaxcalc.engine.linear_solves import Matvec, positive_definite
from jaxcalc.engine.problem import Problem, Tolerances
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.status import Status
from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Iterate, Method
from jaxcalc.methods.needs import Need

PyTree = Any


class Family(abc.ABC):
    """fun(x, *args, *shared), written for one problem, evaluated on lanes.

    The work dtype is the result type of the start's floating leaves and of fun's output, at least float32. fun always
    receives x in the dtypes of the start, so what is promised about a result holds at exactly the x that is returned.

    Attributes:
        methods: The factories of the methods that solve such problems, by name.
        result_type: The class of the results; a family whose results hold more has a subclass of `OptimizeResult`.
        is_homogeneous: Whether a solution stays one, with the same steps towards it, when fun is multiplied by a
            constant: then lanes work with fun in a unit of its own.
        is_judged_by_gradient: Whether SUCCESS is judged by a gradient alone, whose size depends on units: then the
            method's promise has to agree where the caller has given no gtol.
        leaves_layout_to_fun: Whether fun's operations decide where the lanes are in an evaluation; if not, they are
            last.
        n: The number of variables.
        dtype: The work dtype.
        aux: The shapes of fun's auxiliary output; None if there is none.
        output_type: The shapes of what fun returns besides.
        args_lead: Whether the lanes are the first axis of args that the lanes hold, and not the last: they are where
            `jax.vmap` maps fun, as it does where fun has products with matrices of each problem.
        judges_small_changes: Whether `conclusions` decides about ftol and xtol too, which otherwise the engine does.
    """

    methods: ClassVar[Mapping[str, Callable[[], Method]]]
    result_type: ClassVar[type[OptimizeResult]] = OptimizeResult
    is_homogeneous: ClassVar[bool] = False
    is_judged_by_gradient: ClassVar[bool] = False
    judges_small_changes: ClassVar[bool] = False
    leaves_layout_to_fun: ClassVar[bool] = True

    def __init__(
        self, fun: Callable, x0: PyTree, args: tuple[Any, ...], shared: tuple[Any, ...], has_aux: bool = False
    ):
        """Reads the shapes off one problem, x0 and args without their problem axis, without evaluating fun."""
        self._take(fun, x0, has_aux)
        inputs = (jax.eval_shape(as_floating, x0), *args, *shared)
        traced, output = jax.make_jaxpr(returning_arrays("fun", fun), return_shape=True)(*inputs)
        own, count = len(jax.tree.leaves((x0, args))), len(traced.jaxpr.invars)
        self.args_lead: bool = self.leaves_layout_to_fun and is_mapped(traced, [k < own for k in range(count)])
        if has_aux and not (isinstance(output, tuple) and len(output) == 2):
            raise TypeError(f"with has_aux=True fun must return (value, anything); it returned {output}.")
        self.aux: Any = output[1] if has_aux else None
        output = output[0] if has_aux else output
        self.check_output(output)
        self.output_type: Any = output
        self.dtype: Any = jnp.result_type(self._flat_dtype, *jax.tree.leaves(output), jnp.float32)

    def _take(self, fun: Callable, x0: PyTree, has_aux: bool) -> None:
        """Takes a function and the form of its x."""
        unravels: list[Callable] = []

        def raveled(x):
            flat, unravel = ravel_pytree(x)
            unravels.append(unravel)
            return flat

        flat = jax.eval_shape(raveled, jax.eval_shape(as_floating, x0))
        if not flat.size:
            raise ValueError("x0 has no variables: its arrays are empty.")
        self.n: int = flat.size
        self._flat_dtype, self._unravel = flat.dtype, unravels[0]
        self._fun: Any = fun if has_aux else lambda *inputs: (fun(*inputs), None)

    def of(self, fun: Callable | None, x0: PyTree = None, has_aux: bool = False) -> "Family":
        """Returns the family of another function whose outputs have the same shapes, without tracing it.

        None is no function: what is left tells how steps are judged, and holds no function alive.
        """
        family = copy.copy(self)
        if fun is None:
            family._fun = None
        else:
            family._take(fun, x0, has_aux)
        return family

    @classmethod
    def for_queue(cls, fun: Callable, problem: Problem, has_aux: bool = False) -> "Family":
        """Returns the family of fun with the shapes that the problems of a queue have."""
        x0, args = type_of_one((problem.x0, problem.args))
        return cls(fun, x0, args, problem.shared, has_aux)

    @classmethod
    def prepared(cls, fun: Callable) -> Callable:
        """Returns the function that the family takes, made of the user's; a trace is of such a function already."""
        return fun if isinstance(fun, Traced) else cls.made_of(fun)

    @staticmethod
    def made_of(fun: Callable) -> Callable:
        """Returns the function that the family takes, made of the user's: the same, unless overridden."""
        return fun

    def sized(self, method: Method) -> Method:
        """Returns the method that takes the steps in problems of these shapes."""
        return method.for_size(self.n)

    @staticmethod
    @abc.abstractmethod
    def check_output(output: PyTree) -> None:
        """Raises a TypeError that says the mend unless fun's traced output is what the family takes."""

    @abc.abstractmethod
    def objective(self, output: PyTree) -> Array:
        """Returns the number that is minimised, of what fun returned."""

    @abc.abstractmethod
    def conclusions(self, state: Any, at: Iterate, box: Box, tolerances: Tolerances) -> Sequence[tuple[Status, Array]]:
        """Returns the statuses that the family decides, each with the lanes, (L,), in which it holds; the first counts.

        Args:
            state: The method's state, in scaled variables.
            at: Where the method stands, in the caller's variables.
            box: The bounds, in the caller's variables.
            tolerances: Of each lane.
        """

    def in_units(self, evaluation: Any, unit: Array | None) -> Any:
        """Returns the evaluation of fun / unit, (L,): what a homogeneous family evaluates is linear in fun."""
        return evaluation if unit is None else jax.tree.map(lambda leaf: leaf * (1 / unit), evaluation)

    def fields(self, state: Any) -> dict[str, Array]:
        """Returns the fields that `result_type` adds to `OptimizeResult`, at x, lanes last."""
        return {}

    def restrictions(self, x: Array, args: tuple[Any, ...], shared: tuple[Any, ...]) -> tuple[Array, Array, Any] | None:
        """Returns a problem's constraints at x, which are equalities, and the violation allowed; None without any.

        The constraints that are no equalities are at least zero at a solution.
        """
        return None

    # Derivatives of solutions.

    @staticmethod
    def linear_solve(root: Callable, matvec: Matvec, u: Array, near: bool) -> tuple[Callable[..., Any], Array]:
        """Solves the linear system of a solution's derivatives, or tells that it is not regular."""
        return positive_definite(root, matvec, u, near)

    def unknowns(self, result: OptimizeResult) -> Array:
        """Returns what the solution consists of as vectors u, (m, N): x, and multipliers where a family has them."""
        return self.ravel(result.x)

    def stationary(self, u: Array, args: tuple[Any, ...], shared: tuple[Any, ...]) -> tuple[Array, PyTree]:
        """Returns the number whose gradient with respect to u, (m,), is zero at a solution, and fun's aux at x.

        Its derivative with respect to args and shared, at fixed u, is that of the solution's value.
        """
        return self.value(u, args, shared)

    def held(self, result: OptimizeResult, box: Box) -> Array:
        """Returns which unknowns stay where they are when args change, (m, N): variables that a bound holds."""
        return ~box.free(self.ravel(result.x), self.ravel(result.jac))

    def held_at_lower(self, result: OptimizeResult, box: Box) -> Array:
        """Returns which of the held variables stand at their lower bounds, (n, N); the others stand at the upper."""
        return (self.ravel(result.x) <= box.lower) & (self.ravel(result.jac) >= 0)

    def slope(self, u: Array, args: tuple[Any, ...], shared: tuple[Any, ...]) -> Array | None:
        """Returns the objective's gradient at unknowns u, (n,), where it is not zero at solutions; None where it is."""
        return None

    def tangents(self, du: Array, dgradient: Array | None, dslope: Array | None = None) -> dict[str, PyTree]:
        """Returns the tangents of the result's fields.

        Args:
            du: The tangents of the unknowns, (m, N).
            dgradient: Those of the gradient of `stationary` at held unknowns, zero at others; None without bounds.
            dslope: Those of `slope`, (n, N); None where that is.
        """
        return {"x": self.unravel(du)} | ({} if dgradient is None else {"jac": self.unravel(dgradient)})

    # The user's function.

    def ravel(self, x: PyTree) -> Array:
        """Returns the starts of L problems, leaves (L, ...), as lanes (n, L) in the work dtype."""
        return jax.vmap(lambda one: ravel_pytree(one)[0], out_axes=-1)(x).astype(self.dtype)

    def unravel(self, x: Array) -> PyTree:
        """Returns lanes (n, L) as a pytree like the start's, leaves (L, ...)."""
        return jax.vmap(self._unravel, in_axes=-1)(x.astype(self._flat_dtype))

    def output(self, x: Array, args: tuple[Any, ...], shared: tuple[Any, ...]) -> tuple[PyTree, PyTree]:
        """Returns what fun returns at one problem's x, (n,), in the work dtype, and its auxiliary output."""
        output, aux = self._fun(self._unravel(x.astype(self._flat_dtype)), *args, *shared)
        return jax.tree.map(lambda leaf: leaf.astype(self.dtype), output), aux

    def value(self, x: Array, args: tuple[Any, ...], shared: tuple[Any, ...]) -> tuple[Array, PyTree]:
        """Returns the number that is minimised at one problem's x, (n,), and fun's auxiliary output."""
        output, aux = self.output(x, args, shared)
        return self.objective(output), aux

    def evaluate(self, needs: Need, state: Any, args: tuple[Any, ...], shared: tuple[Any, ...]) -> Any:
        """Returns what a method needs at the trial points of a state; see `evaluate_at`."""
        return self.evaluate_at(needs, needs.points(state), args, shared)

    def evaluate_at(
        self,
        needs: Need,
        points: tuple[Array, ...],
        args: tuple[Any, ...],
        shared: tuple[Any, ...],
        scale: Array | None = None,
    ) -> Any:
        """Returns what a method needs at points of the lanes, and fun's auxiliary output, lanes last.

        The points, which `needs.points` reads from a state, and all derivatives are those of z = x / scale; scale has
        lanes last, and args where `args_lead` says.
        """

        def of_one(args, scale, *points):
            def function(z):
                return self.output(z if scale is None else z * scale, args, shared)

            return needs.evaluate(function, *points)

        return in_its_layout(of_one, first=int(self.args_lead))(args, scale, *points)

    def args_on_lanes(self, args: PyTree) -> PyTree:
        """Returns args of L problems, leaves (L, ...), as lanes hold them."""
        return args if self.args_lead else jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), args)
