"""Families of tests with near-identical members: which members an ordinary run covers."""

from collections.abc import Collection, Iterable

import pytest


def slow_but(values: Iterable, quick: Collection) -> list:
    """Returns the values as parameters of a test, of which only the quick ones run without `--slow`.

    A value may be a tuple, for several arguments of the test.
    """

    def parameter(value):
        arguments = value if isinstance(value, tuple) else (value,)
        return pytest.param(*arguments, marks=() if value in quick else pytest.mark.slow)

    return [parameter(value) for value in values]
