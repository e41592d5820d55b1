"""Problems whose function returns one number, which is minimised."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from jax import Array

from jaxcalc.core.arguments import require_one_number
from jaxcalc.engine.family.family import Family, PyTree
from jaxcalc.engine.problem import Tolerances
from jaxcalc.engine.status import Status
from jaxcalc.methods import scalar
from jaxcalc.methods.box import Box
from jaxcalc.methods.lane_algebra import max_norm
from jaxcalc.methods.method import Iterate, Method


def require_value(output: PyTree) -> None:
    """Raises a TypeError that says the mend unless fun's traced output is one real number."""
    if hasattr(output, "dtype"):
        mend = (
            " Reduce a vector with jnp.sum or jnp.mean, a complex number with jnp.real or jnp.abs. (fun is written for "
            "one problem; the problem axis is not part of its x.)"
        )
    else:
        mend = " Return the value alone, or (value, anything) with has_aux=True."
    require_one_number("fun", output, mend)


class Scalar(Family):
    """fun(x, *args, *shared) -> the value that is minimised, one real number."""

    methods: ClassVar[Mapping[str, Callable[[], Method]]] = scalar.REGISTRY
    is_homogeneous = True
    is_judged_by_gradient = True

    @staticmethod
    def check_output(output: PyTree) -> None:
        """Requires one real number."""
        require_value(output)

    def objective(self, output: PyTree) -> Array:
        """Returns the output itself."""
        return output

    def conclusions(self, state: Any, at: Iterate, box: Box, tolerances: Tolerances) -> Sequence[tuple[Status, Array]]:
        """Returns SUCCESS where the largest component of the projected gradient is at most gtol."""
        return [(Status.SUCCESS, max_norm(box.projected_gradient(at.x, at.gradient)) <= tolerances.gtol)]
