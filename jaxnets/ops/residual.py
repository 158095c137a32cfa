"""The two pieces that make a network residual.  Derivation: derivations/resnet.md.

The sum of a branch f = F(x) and a shortcut s, rectified; and the shortcut without parameters for a block that halves
the image and widens it, with stride σ and C channels of x:

    (RN1) y = max(f + s, 0)
    (RN2) f_bar = s_bar = y_bar ⊙ [y > 0]
    (RN3) s_{n,r,s,c} = x_{n,σr,σs,c} for c < C, and 0 for the new channels
    (RN4) x_bar_{n,a,b,c} = s_bar_{n,a/σ,b/σ,c} where σ divides a and b, else 0

So x_bar = J_Fᵀ f_bar + s_bar: what arrives at the output reaches the input undamped, whatever F does to it.

Source: He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, eq. (1), (2), and option A of
section 3.3.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxnets.rule import rule


def residual_sum_forward(
    f: Float[Array, "batch *rest"], s: Float[Array, "batch *rest"]
) -> tuple[Float[Array, "batch *rest"], Bool[Array, "batch *rest"]]:
    """The rectified sum of a branch and its shortcut (RN1); the slope at 0 is 0.

    Raises:
      ValueError: if their shapes or dtypes differ.
    """
    if (f.shape, f.dtype) != (s.shape, s.dtype):
        raise ValueError(f"residual_sum: f is {f.dtype}{list(f.shape)}, s is {s.dtype}{list(s.shape)}, wanted the same")
    total = f + s
    return jnp.maximum(total, 0), total > 0  # (RN1)


def residual_sum_backward(
    positive: Bool[Array, "batch *rest"], y_bar: Float[Array, "batch *rest"]
) -> tuple[Float[Array, "batch *rest"], Float[Array, "batch *rest"]]:
    """Cotangents of f and s, which are equal: (RN2)."""
    total_bar = jnp.where(positive, y_bar, 0)  # (RN2)
    return total_bar, total_bar


residual_sum = rule(residual_sum_forward, residual_sum_backward)


def identity_shortcut_forward(
    x: Float[Array, "batch height width channels"], *, stride: int = 1, channels: int | None = None
) -> tuple[Float[Array, "batch out_height out_width out_channels"], Float[Array, "height width channels 0"]]:
    """Every σ-th pixel of x, with zeros as its further channels (RN3).

    Raises:
      ValueError: if x is no batch of images, the stride is less than 1, or there are fewer channels than x has.
    """
    if x.ndim != 4:
        raise ValueError(f"identity_shortcut: x has shape {x.shape}, wanted NHWC")
    wanted = x.shape[3] if channels is None else channels
    if stride < 1 or wanted < x.shape[3]:
        raise ValueError(
            f"identity_shortcut: stride {stride} and channels {wanted}, wanted at least 1 and {x.shape[3]}, x {x.shape}"
        )
    read = x[:, ::stride, ::stride]
    s = jnp.pad(read, ((0, 0), (0, 0), (0, 0), (0, wanted - x.shape[3])))  # (RN3)
    return s, jnp.zeros((*x.shape[1:], 0), x.dtype)  # only its shape is needed


def identity_shortcut_backward(
    shape: Float[Array, "height width channels 0"],
    s_bar: Float[Array, "batch out_height out_width out_channels"],
    *,
    stride: int,
    channels: int | None,
) -> tuple[Float[Array, "batch height width channels"]]:
    """Cotangent of x (RN4)."""
    height, width, old, _ = shape.shape
    zero = jnp.zeros((), s_bar.dtype)
    below, right = (n - 1 - stride * (out - 1) for n, out in zip((height, width), s_bar.shape[1:3], strict=True))
    return (
        lax.pad(
            s_bar[..., :old], zero, ((0, 0, 0), (0, below, stride - 1), (0, right, stride - 1), (0, 0, 0))
        ),  # (RN4)
    )


identity_shortcut = rule(identity_shortcut_forward, identity_shortcut_backward)
