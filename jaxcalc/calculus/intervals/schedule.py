"""The order in which the operations of a long program run: equal operations side by side.

The derivatives of a sum of a hundred terms are thousands of operations of a few kinds. Each call of a compiled program
costs as much as the arithmetic of some thousand numbers, so that operations of one kind whose operands are there are
handed over in one call.
"""

import collections
from collections.abc import Callable, Hashable, Sequence
from typing import Any

# Shorter programs run one by one: what they would save is less than what another compiled program costs.
_SHORTEST = 400
# How many operations a step takes at most; fewer than the least run one by one.
_WIDTH, _LEAST = 16, 3


def steps(operations: Sequence[Any], key_of: Callable[[Any], Hashable]) -> list[tuple[Any, ...]]:
    """Returns the operations in an order of execution, cut into steps of equal operations.

    Args:
        operations: In an order in which each comes after those whose results it takes.
        key_of: What is the same for operations that one compiled program computes; None for an operation that runs
            alone.
    """
    if len(operations) < _SHORTEST:
        return [(operation,) for operation in operations]
    waiting, users = {}, collections.defaultdict(list)
    produced = {id(slot) for operation in operations for slot in operation.outvars}
    ready: dict[Hashable, collections.deque] = collections.defaultdict(collections.deque)

    def enqueue(k: int) -> None:
        key = key_of(operations[k])
        ready[("alone", k) if key is None else key].append(k)

    for k, operation in enumerate(operations):
        needed = {id(operand) for operand in operation.invars} & produced
        waiting[k] = len(needed)
        for slot in needed:
            users[slot].append(k)
        if not needed:
            enqueue(k)
    found = []
    while ready:
        # The largest set of equal operations first: meanwhile the smaller ones grow.
        key = max(ready, key=lambda key: len(ready[key]))
        queue = ready[key]
        count = min(len(queue), _WIDTH) if len(queue) >= _LEAST else 1
        step = [queue.popleft() for _ in range(count)]
        if not queue:
            del ready[key]
        found.append(tuple(operations[k] for k in step))
        for slot in (slot for k in step for slot in operations[k].outvars):
            for k in users[id(slot)]:
                waiting[k] -= 1
                if not waiting[k]:
                    enqueue(k)
    return found
