"""What every learning rule asks of its arguments."""

from jaxtyping import Array

from jaxnets.ops._floating import require_floating


def check(name: str, w: Array, x: Array, t: Array | None = None) -> None:
    """ValueError or TypeError in the name of the function, unless x w exists, of the shape of t if there is one."""
    require_floating(name, w, "w")
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0]:
        raise ValueError(f"{name}: wanted x (batch, n_in) and w (n_in, n_out), got x {x.shape}, w {w.shape}")
    check_dtype(name, "x", x, w)
    if t is not None:
        if t.shape != (x.shape[0], w.shape[1]):
            raise ValueError(
                f"{name}: t has shape {t.shape}, wanted {(x.shape[0], w.shape[1])}, a target for each row of x "
                f"{x.shape} and each column of w {w.shape}"
            )
        check_dtype(name, "t", t, w)


def check_pairs(name: str, x: Array, t: Array) -> None:
    """ValueError or TypeError unless x and t are matrices with as many rows."""
    require_floating(name, x, "x")
    if x.ndim != 2 or t.ndim != 2 or x.shape[0] != t.shape[0]:
        raise ValueError(f"{name}: wanted x (batch, n_in) and t (batch, n_out), got x {x.shape}, t {t.shape}")
    check_dtype(name, "t", t, x)


def check_dtype(name: str, called: str, a: Array, like: Array) -> None:
    """TypeError unless both have one dtype."""
    if a.dtype != like.dtype:
        raise TypeError(f"{name}: {called} is {a.dtype}, wanted {like.dtype} as the others are")
