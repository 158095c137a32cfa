"""Where a training lives: its examples in equal shares on the devices of a mesh, its parameters whole or in shares.

    placement = data_parallel()                       # all devices of all processes
    state, history = fit(step, state, placement.examples(data), placement=placement, key=key, ...)

The program stays that of one device: the compiler splits it along the examples and adds up the shares of the gradient.
So a mean over the batch, such as those of batch normalisation, is one over the examples of all devices.

Sources: Rajbhandari, Rasley, Ruwase and He 2020, ZeRO: memory optimizations toward training trillion parameter models,
for parameters in shares; Xu et al. 2021, GSPMD, for the compiler.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ._batches import count_examples

AXIS = "data"


@dataclass(frozen=True)
class Placement:
    """Devices, side by side, each with a part of the examples; see `data_parallel`."""

    mesh: Mesh
    shares: int
    """Equal parts of the examples that are shuffled each by itself; each device has as many of them."""
    split_state: bool = False
    """Whether each device holds a part of the parameters and of the optimizer's state, or all of them."""

    def check_shares(self, function: str, **sizes: int) -> None:
        """ValueError, in the name of the function, unless the numbers of examples fall into the shares."""
        for name, size in sizes.items():
            if size % self.shares:
                raise ValueError(f"{function}: {name} is {size} examples, wanted a multiple of {self.shares} shares")

    def processes(self) -> int:
        """How many processes have devices of it."""
        return len({device.process_index for device in self.mesh.devices.flat})

    def shares_here(self) -> list[int]:
        """The numbers of the shares that lie on devices of this process, in the order of its examples."""
        each, here = self.shares // self.mesh.size, jax.process_index()
        mine = (number for number, device in enumerate(self.mesh.devices.flat) if device.process_index == here)
        return [number * each + share for number in mine for share in range(each)]

    def examples(self, data: Any) -> Any:
        """Arrays with the examples as first axis, an equal part of them on each device.

        With several processes, `data` are the examples of this process, as many as every other process has: none needs
        to have read those of another one.  What is placed already stays where it is.

        Raises:
          ValueError: if the data does not fall into equal parts.
        """
        split = NamedSharding(self.mesh, PartitionSpec(AXIS))
        if all(isinstance(a, jax.Array) and a.sharding == split for a in jax.tree.leaves(data)):
            return data
        local = self.mesh.local_mesh.size
        examples = count_examples("Placement.examples", data)
        if examples % local:
            raise ValueError(f"Placement.examples: data has {examples} examples, wanted a multiple of {local} devices")
        return jax.tree.map(lambda a: jax.make_array_from_process_local_data(split, np.asarray(a)), data)

    def whole(self, tree: Any) -> Any:
        """The same arrays on every device; every process gives the same."""
        return jax.tree.map(lambda a: _put(a, self.everywhere()), tree)

    def state(self, tree: Any) -> Any:
        """Parameters and what belongs to them, whole or in parts; every process gives the same."""
        return jax.tree.map(lambda a: _put(a, self.sharding(np.shape(a))), tree)

    def sharding(self, shape: tuple[int, ...]) -> NamedSharding:
        """Of an array of the state: along its longest axis that falls into equal parts, if it is split and has one."""
        fitting = [axis for axis, size in enumerate(shape) if size and size % self.mesh.size == 0]
        if not self.split_state or not fitting:
            return self.everywhere()
        longest = max(fitting, key=lambda axis: shape[axis])
        return NamedSharding(self.mesh, PartitionSpec(*[None] * longest, AXIS))

    def everywhere(self) -> NamedSharding:
        """Whole on every device, so that every process can read it."""
        return NamedSharding(self.mesh, PartitionSpec())


def data_parallel(
    devices: Sequence[Any] | None = None, *, shares: int | None = None, split_state: bool = False
) -> Placement:
    """A placement on these devices, or on all there are.

    Args:
      devices: each a `jax.Device`, of all processes, as `jax.devices()` lists them.
      shares: a multiple of the number of devices, and that unless told.  The order of the examples depends on it and
        not on the devices: with the same shares a run is the same on another number of devices, but for rounding.
      split_state: whether the parameters and the optimizer's state are in parts too (ZeRO's third stage, or FSDP): each
        device then holds one part, and is sent the others while it computes with them.

    Raises:
      ValueError: if there is no device, or the shares do not fall onto the devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    shares = len(devices) if shares is None else shares
    if not devices or shares < 1 or shares % len(devices):
        raise ValueError(f"data_parallel: shares is {shares}, wanted a positive multiple of {len(devices)} devices")
    return Placement(Mesh(np.asarray(devices), (AXIS,)), shares, split_state)


def _put(a: Any, sharding: NamedSharding) -> jax.Array:
    if not isinstance(a, jax.Array) or not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        return jax.device_put(a, sharding)
    # Keys as such cannot be put onto the devices of other processes.
    return jax.random.wrap_key_data(jax.device_put(jax.random.key_data(a), sharding), impl=jax.random.key_impl(a))
