"""The user's function as the engine sees it: flat vectors in, evaluations of all lanes out.

Pytrees and dtypes live here and nowhere below: a problem's start is raveled when it is loaded into its lane, and its
result is unraveled when it is written.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxcalc.methods.method import Evaluation

PyTree = Any


class Objective:
    """fun(x, *args, *shared) -> scalar, written for one problem, evaluated on lanes.

    The work dtype is the result type of the start's floating leaves and of fun's value, at least float32. fun always
    receives x in the dtypes of the start, so what is promised about a result holds at exactly the x that is returned.
    """

    def __init__(self, fun: Callable, x0: PyTree, args: tuple, shared: tuple, has_aux: bool = False):
        """Reads the shapes off one problem, x0 and args without their problem axis, without evaluating fun."""
        x0 = jax.eval_shape(as_start, x0)
        flat, self._unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), x0))
        if not flat.size:
            raise ValueError("x0 has no variables: its arrays are empty.")
        self.n = flat.size
        self._flat_dtype = flat.dtype
        self._fun = fun if has_aux else lambda *inputs: (fun(*inputs), None)
        output: Any = jax.eval_shape(lambda *inputs: fun(*inputs), x0, *args, *shared)
        if has_aux and not (isinstance(output, tuple) and len(output) == 2):
            raise TypeError(f"with has_aux=True fun must return (value, anything); it returned {output}.")
        value: Any = output[0] if has_aux else output
        self.aux = output[1] if has_aux else None
        check_value(value)
        self.dtype = jnp.result_type(flat.dtype, value.dtype, jnp.float32)

    def ravel(self, x: PyTree) -> Array:
        """Returns the starts of L problems, leaves (L, ...), as lanes (n, L) in the work dtype."""
        return jax.vmap(lambda one: ravel_pytree(one)[0], out_axes=-1)(x).astype(self.dtype)

    def unravel(self, x: Array) -> PyTree:
        """Returns lanes (n, L) as a pytree like the start's, leaves (L, ...)."""
        return jax.vmap(self._unravel, in_axes=-1)(x.astype(self._flat_dtype))

    def value(self, x: Array, args: tuple, shared: tuple) -> tuple[Array, PyTree]:
        """Returns the value at one problem's x, (n,), and fun's auxiliary output there."""
        value, aux = self._fun(self._unravel(x.astype(self._flat_dtype)), *args, *shared)
        return value.astype(self.dtype), aux

    def evaluate(
        self, state: Any, args: tuple, shared: tuple, needs: str, scale: Array | None = None
    ) -> tuple[Evaluation, PyTree]:
        """Returns what a method needs at the trial points, and fun's auxiliary output; args and scale have lanes last.

        The state's points and all derivatives are those of z = x / scale; of scale None, of x itself.
        """

        def value(z, args, scale, shared):
            return self.value(z if scale is None else z * scale, args, shared)

        def with_gradient(z, *others):
            (value_at_z, aux), gradient = jax.value_and_grad(value, has_aux=True)(z, *others)
            return gradient, (Evaluation(value_at_z, gradient), aux)

        def with_hessian(z, *others):
            hessian, (evaluation, aux) = jax.jacfwd(with_gradient, has_aux=True)(z, *others)
            return hessian, (evaluation._replace(hessian=hessian), aux)

        def with_product(z, direction, *others):
            _, product, (evaluation, aux) = jax.jvp(
                lambda z: with_gradient(z, *others), (z,), (direction,), has_aux=True
            )
            return product, (evaluation._replace(product=product), aux)

        points = (state.trial, state.direction) if needs == "product" else (state.trial,)
        evaluated = {"gradient": with_gradient, "hessian": with_hessian, "product": with_product}[needs]
        in_axes = (*(-1 for _ in points), -1, -1, None)
        return jax.vmap(lambda *inputs: evaluated(*inputs)[1], in_axes, out_axes=-1)(*points, args, scale, shared)


def as_start(x0: PyTree) -> PyTree:
    """Returns a start in the dtypes in which fun receives it: its own, or the default float for integers."""

    def convert(leaf):
        return leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.astype(jnp.result_type(float))

    return jax.tree.map(convert, x0)


def check_value(value: PyTree) -> None:
    """Raises a TypeError unless fun's traced value is one real number."""
    if not isinstance(value, jax.ShapeDtypeStruct):
        raise TypeError(
            f"fun must return one real number, an array of shape (); it returned a {type(value).__name__}. "
            "Return the value alone, or (value, anything) with has_aux=True."
        )
    if value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(
            f"fun must return one real number, an array of shape () and a floating dtype; it returned shape "
            f"{value.shape} of {value.dtype}. Reduce a vector with jnp.sum or jnp.mean, a complex number with jnp.real "
            "or jnp.abs. (fun is written for one problem; the problem axis is not part of its x.)"
        )
