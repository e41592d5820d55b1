"""What decides where a function passes from one expression to another: the switches in its trace.

The result of a comparison or a rounding is constant on either side of a place at which its operand crosses a border:
where(u(x, p) < v(x, p), f, g) jumps where u - v = 0, and by the implicit function theorem that place has the speed
-(u - v)_p / (u - v)_x. Maxima and absolute values bend and do not jump; their derivatives hold comparisons.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Literal, jaxpr_as_fun

from jaxcalc.calculus.intervals.enclosures import CALLS, extreme_behind, operands_of_extreme
from jaxcalc.calculus.modes import holds


class _Switch(NamedTuple):
    """An operation that joins expressions: its side, constant where it does not switch, and what crosses a border."""

    side: Array
    operand: Array


class Switches:
    """The switches of f(x, parameters, others) that depend both on x and on a parameter.

    None is looked for where f holds a `while_loop`, as an integral of its own does: each side would run the loop.

    Attributes:
        depend: Whether any of them depends on each of the parameters.
        eps: The relative rounding error of x and of what is computed of it: f may round to fewer digits.
    """

    def __init__(self, f: Callable, x: Array, parameters: list[Array], others: list[Array]):
        """Traces f.

        Args:
            f: A function of a number x and two lists of arrays.
            x: A number, of which only the form counts.
            parameters: A list of arrays, likewise.
            others: A list of arrays, likewise.
        """
        traced = jax.make_jaxpr(f)(x, parameters, others)
        places = range(1, 1 + len(parameters))
        self.depend: list[bool] = [False for _ in places]
        if holds(traced.jaxpr, "while"):
            return
        inputs = [x, *parameters, *others]

        def switches_at(*inputs: Array) -> list[_Switch]:
            switches: list[_Switch] = []
            _evaluated(traced.jaxpr, traced.consts, inputs, switches)
            return switches

        found = jax.make_jaxpr(switches_at)(*inputs).jaxpr
        sources = _sources(found)
        of = [frozenset() if isinstance(atom, Literal) else sources[atom] for atom in found.outvars]
        each = [of[k] | of[k + 1] for k in range(0, len(of), 2)]
        chosen = [k for k, those in enumerate(each) if 0 in those and not those.isdisjoint(places)]
        self.depend = [any(place in each[k] for k in chosen) for place in places]

        def joined(end: int) -> Any:
            def of_all(*inputs: Array) -> Array:
                pairs = [jnp.broadcast_arrays(*switch) for switch in switches_at(*inputs)]
                return jnp.concatenate([jnp.ravel(pairs[k][end]).astype(x.dtype) for k in chosen])

            return _without_dead_code(jax.make_jaxpr(of_all)(*inputs))

        self._sides, self._operands = map(joined, (0, 1)) if chosen else (None, None)
        of_x = {var.aval.dtype for var, those in sources.items() if 0 in those}
        self.eps = max(float(jnp.finfo(dtype).eps) for dtype in of_x if jnp.issubdtype(dtype, jnp.floating))

    def sides(self, x: Array, parameters: list[Array], others: list[Array]) -> Array:
        """Returns numbers of which one changes where a switch does, (k,)."""
        return jaxpr_as_fun(self._sides)(x, *parameters, *others)[0]

    def operands(self, x: Array, parameters: list[Array], others: list[Array]) -> Array:
        """Returns what crosses a border where the side changes, (k,); nan where that is not known."""
        return jaxpr_as_fun(self._operands)(x, *parameters, *others)[0]


def _evaluated(jaxpr: Any, consts: Any, inputs: Any, switches: list[_Switch]) -> list[Any]:
    """Evaluates a jaxpr, and appends its switches, those in calls, scans and branches included."""
    values: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True))
    producers: dict[Any, Any] = {}

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        operands = list(map(read, equation.invars))
        results = _results(equation, operands, switches)
        extreme = extreme_behind(equation, producers)
        if extreme is not None:
            operands = list(map(read, operands_of_extreme(equation, extreme)))
        equal = len(equation.invars) == 2 and equation.invars[0] is equation.invars[1]
        name = equation.primitive.name
        kind = "extreme" if extreme is not None else f"{name} of itself" if equal else name
        if kind in _SWITCHES and jnp.issubdtype(jnp.result_type(operands[0]), jnp.floating):
            switches += _SWITCHES[kind](equation.params, operands, results)
        values.update(zip(equation.outvars, results, strict=True))
        producers.update(dict.fromkeys(equation.outvars, equation))
    return list(map(read, jaxpr.outvars))


def _results(equation: Any, operands: list[Any], switches: list[_Switch]) -> list[Any]:
    """Returns the results of one equation, and appends the switches inside of it."""
    primitive, params = equation.primitive, equation.params
    if primitive.name == "scan":
        return _evaluated_scan(params, operands, switches)
    inner = [params.get("jaxpr", params.get("call_jaxpr"))] if primitive.name in CALLS else []
    for called in params["branches"] if primitive.name == "cond" else inner:
        given = operands[len(operands) - len(getattr(called, "jaxpr", called).invars) :]
        results = _evaluated(getattr(called, "jaxpr", called), getattr(called, "consts", ()), given, switches)
    if inner and not primitive.name.startswith("custom"):  # those have derivatives of their own
        return results
    results = primitive.bind(*operands, **primitive.get_bind_params(params))
    return results if primitive.multiple_results else [results]


def _evaluated_scan(params: dict, operands: list[Any], switches: list[_Switch]) -> list[Any]:
    """Evaluates a scan; its switches have the axis of its steps."""
    split, carried = params["num_consts"], params["num_carry"]
    consts, carry, rows = operands[:split], operands[split : split + carried], operands[split + carried :]

    def step(carry: list[Array], row: list[Array]) -> tuple[list[Array], Any]:
        within: list[_Switch] = []
        results = _evaluated(params["jaxpr"].jaxpr, params["jaxpr"].consts, [*consts, *carry, *row], within)
        return results[:carried], (results[carried:], within)

    options = {"length": params["length"], "reverse": params["reverse"]}
    last, (outputs, within) = lax.scan(step, list(map(jnp.asarray, carry)), rows, **options)
    switches += within
    return [*last, *outputs]


def _of_comparison(params: dict, operands: list[Any], results: list[Any]) -> list[_Switch]:
    return [_Switch(results[0], operands[0] - operands[1])]


def _of_extreme(params: dict, operands: list[Any], results: list[Any]) -> list[_Switch]:
    return [_Switch(operands[0] < operands[1], operands[0] - operands[1])]


def _of_result(params: dict, operands: list[Any], results: list[Any]) -> list[_Switch]:
    return [_Switch(results[0], operands[0])]


def _of_conversion(params: dict, operands: list[Any], results: list[Any]) -> list[_Switch]:
    whole = jnp.issubdtype(params["new_dtype"], jnp.integer)
    return _of_result(params, operands, results) if whole else []


def _of_remainder(params: dict, operands: list[Any], results: list[Any]) -> list[_Switch]:
    ratio = operands[0] / operands[1]
    return [_Switch(jnp.trunc(ratio), ratio)]


def _of_angle(params: dict, operands: list[Any], results: list[Any]) -> list[_Switch]:
    return [_Switch(operands[0] < 0, jnp.asarray(operands[0]))]


def _without_operand(side: Any) -> list[_Switch]:
    return [_Switch(side, jnp.full(jnp.shape(side), jnp.nan))]


def _of_choice(params: dict, operands: list[Any], results: list[Any]) -> list[_Switch]:
    return _without_operand(results[0])


def _of_largest(sign: int) -> Callable:
    def switch(params: dict, operands: list[Any], results: list[Any]) -> list[_Switch]:
        last = jnp.moveaxis(sign * operands[0], params["axes"], range(-len(params["axes"]), 0))
        return _without_operand(jnp.argmax(last.reshape(*results[0].shape, -1), axis=-1))

    return switch


def _of_sort(params: dict, operands: list[Any], results: list[Any]) -> list[_Switch]:
    if len(operands) == 1:
        return []
    axis = params["dimension"]
    order = lax.broadcasted_iota(jnp.int32, operands[0].shape, axis)
    return _without_operand(lax.sort((operands[0], order), dimension=axis, num_keys=1)[1])


# Equality alone holds at single points, which change no integral.
_SWITCHES: dict[str, Callable[[dict, list[Any], list[Any]], list[_Switch]]] = {
    **dict.fromkeys(("lt", "le", "gt", "ge", "lt_to", "le_to"), _of_comparison),
    **{"extreme": _of_extreme, "rem": _of_remainder, "atan2": _of_angle, "convert_element_type": _of_conversion},
    **dict.fromkeys(("sign", "floor", "ceil", "round"), _of_result),
    **dict.fromkeys(("argmax", "argmin", "is_finite", "eq of itself", "ne of itself"), _of_choice),
    **{"reduce_max": _of_largest(1), "reduce_min": _of_largest(-1), "sort": _of_sort},
}


def _sources(jaxpr: Any) -> dict[Any, frozenset[int]]:
    """Returns for each variable of a jaxpr the numbers of the inputs on which it may depend."""
    sources = {var: frozenset([k]) for k, var in enumerate(jaxpr.invars)} | dict.fromkeys(jaxpr.constvars, frozenset())
    for equation in jaxpr.eqns:
        read = [sources[atom] for atom in equation.invars if not isinstance(atom, Literal)]
        sources |= dict.fromkeys(equation.outvars, frozenset().union(*read))
    return sources


def _without_dead_code(closed: Any) -> Any:
    """Returns a trace with the equations alone that its results need."""
    jaxpr = closed.jaxpr
    needed, kept = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}, []
    for equation in reversed(jaxpr.eqns):
        if not needed.isdisjoint(equation.outvars):
            kept.append(equation)
            needed.update(atom for atom in equation.invars if not isinstance(atom, Literal))
    return closed.replace(jaxpr=jaxpr.replace(eqns=kept[::-1]))
