"""Numbers in kernels, which know no complex ones: tuples of parts, (real,) or (real, imaginary)."""

from jaxtyping import Array

Number = tuple[Array, ...]


def times(a: Number, b: Number) -> Number:
    """The product."""
    if len(a) == 1:
        return (a[0] * b[0],)
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]
