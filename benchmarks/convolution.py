"""Convolutional layers and networks on a CPU: the kernels against JAX's autodiff of XLA's convolution, and PyTorch.

Run it with `python benchmarks/convolution.py [part of a title ...]`; the results
are written to benchmarks/results/convolution.md and .json.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import comparison
import jax
import jax.numpy as jnp
import networks
import numpy as np
import torch
from comparison import RATE, Case, Gradients
from jax import lax

from jaxnets.nets import alexnet, inception, resnet
from jaxnets.ops.activations import relu
from jaxnets.ops.affine import affine
from jaxnets.ops.convolution import conv2d, conv_relu_pool
from jaxnets.ops.losses import softmax_cross_entropy, softmax_cross_entropy_with_integer_labels
from jaxnets.ops.pooling import max_pool
from jaxnets.rule import autodiff
from jaxnets.train import value_and_grad_in_parts

STEPS = 8


def natural_conv(x: Any, w: Any, b: Any, stride: int, pad: int) -> jax.Array:
    padding = ((pad, pad), (pad, pad))
    return lax.conv_general_dilated(x, w, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")) + b


def natural_pool(a: jax.Array) -> jax.Array:
    return lax.reduce_window(a, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pulled_back(f: Callable[..., jax.Array]) -> Gradients:
    """The value z, and the cotangents of all arguments but the last, which is z's own."""

    def both(*args: jax.Array) -> Any:
        *inputs, z_bar = args
        z, pull_back = jax.vjp(f, *inputs)
        return z, pull_back(z_bar)

    return both


def torch_images(x: np.ndarray, form: torch.memory_format) -> torch.Tensor:
    return torch.tensor(x.transpose(0, 3, 1, 2)).contiguous(memory_format=form)


def torch_kernels(w: np.ndarray, form: torch.memory_format) -> torch.Tensor:
    return torch.tensor(w.transpose(3, 2, 0, 1)).contiguous(memory_format=form)


def layouts(runner: Callable[[torch.memory_format], Callable[[], Any]]) -> dict[str, Callable[[], Callable[[], Any]]]:
    """PyTorch in both of its layouts."""
    forms = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
    return {f"PyTorch, {name}": partial(runner, form) for name, form in forms.items()}


def layer(batch: int, size: int, channels: int, filters: int, kernel: int, stride: int = 1) -> Case:
    """One convolution with its bias: forward, and the gradients of all three arguments."""
    pad = kernel // 2
    x = normal(0, batch, size, size, channels)
    w = normal(1, kernel, kernel, channels, filters) / np.float32(kernel * channels**0.5)
    b = normal(2, filters)
    z_bar = normal(3, *natural_conv(x, w, b, stride, pad).shape)

    def hand(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        return conv2d(x, w, b, stride=(stride, stride), padding=((pad, pad), (pad, pad)))

    def torch_runner(form: torch.memory_format) -> Callable[[], Any]:
        images, z_bars = torch_images(x, form).requires_grad_(), torch_images(z_bar, form)
        kernels, biases = torch_kernels(w, form).requires_grad_(), torch.tensor(b, requires_grad=True)

        def run() -> Any:
            z = torch.nn.functional.conv2d(images, kernels, biases, stride, pad)
            return torch.autograd.grad(z, (images, kernels, biases), z_bars)

        return run

    title = f"{kernel} x {kernel}, {channels} to {filters} channels, stride {stride}, {batch} images {size} x {size}"
    natural = pulled_back(lambda x, w, b: natural_conv(x, w, b, stride, pad))
    return Case(title, pulled_back(hand), pulled_back(autodiff(hand)), natural, (x, w, b, z_bar), layouts(torch_runner))


def pool(batch: int, size: int, channels: int) -> Case:
    """2 x 2 max pool, there and back."""
    x, y_bar = normal(0, batch, size, size, channels), normal(1, batch, size // 2, size // 2, channels)

    def torch_runner(form: torch.memory_format) -> Callable[[], Any]:
        images, y_bars = torch_images(x, form).requires_grad_(), torch_images(y_bar, form)
        return lambda: torch.autograd.grad(torch.nn.functional.max_pool2d(images, 2), images, y_bars)

    title = f"2 x 2 max pool, {channels} channels, {batch} images {size} x {size}"
    control = pulled_back(autodiff(max_pool))
    return Case(title, pulled_back(max_pool), control, pulled_back(natural_pool), (x, y_bar), layouts(torch_runner))


SHAPES = ((5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, 10))


def lenet_params() -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (normal(k, *shape) * np.float32((2 / np.prod(shape[:-1])) ** 0.5), np.zeros(shape[-1], np.float32))
        for k, shape in enumerate(SHAPES)
    ]


def lenet_loss(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
    (w1, b1), (w3, b3), *dense = params
    a = conv_relu_pool(conv_relu_pool(x, w1, b1, padding=((2, 2), (2, 2))), w3, b3).reshape(len(x), -1)
    for w, b in dense[:-1]:
        a = relu(affine(a, w, b))
    return softmax_cross_entropy(affine(a, *dense[-1]), t)


def natural_lenet_loss(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
    (w1, b1), (w3, b3), *dense = params
    a = natural_pool(jax.nn.relu(natural_conv(x, w1, b1, 1, 2)))
    a = natural_pool(jax.nn.relu(natural_conv(a, w3, b3, 1, 0))).reshape(len(x), -1)
    for w, b in dense[:-1]:
        a = jax.nn.relu(a @ w + b)
    w, b = dense[-1]
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(a @ w + b) * t, 1))


def training_step(loss: Callable[..., jax.Array], micro_batch: int | None = None) -> Gradients:
    """The loss, and the parameters after a step of gradient descent, perhaps in parts of the batch."""

    def of_batch(params: Any, batch: Any) -> jax.Array:
        return loss(params, *batch)

    value_and_grad = (
        jax.value_and_grad(of_batch) if micro_batch is None else value_and_grad_in_parts(of_batch, micro_batch)
    )

    def step(params: Any, x: jax.Array, t: jax.Array) -> Any:
        value, slopes = value_and_grad(params, (x, t))
        return value, jax.tree.map(lambda p, slope: p - RATE * slope, params, slopes)

    return step


def epoch(loss: Callable[..., jax.Array]) -> Gradients:
    """Several steps in one compiled loop: x and t have one more axis, along which it goes."""
    step = training_step(loss)

    def run(params: Any, xs: jax.Array, ts: jax.Array) -> Any:
        def body(params: Any, batch: Any) -> Any:
            value, params = step(params, *batch)
            return params, value

        params, values = lax.scan(body, params, (xs, ts))
        return values, params

    return run


def lenet(batch: int, steps: int = 1, micro_batch: int | None = None) -> Case:
    """Training of LeNet-5: a step, or several in a loop.

    `micro_batch` is for jaxnets and its control; with XLA's convolutions a loop over parts is slower than none.
    """
    random = np.random.default_rng(0)
    x = random.uniform(size=(steps, batch, 28, 28, 1)).astype(np.float32)
    t = np.eye(10, dtype=np.float32)[random.integers(0, 10, (steps, batch))]
    params = lenet_params()
    wrap = partial(training_step, micro_batch=micro_batch) if steps == 1 else epoch
    natural = training_step if steps == 1 else epoch
    arguments = (params, x[0], t[0]) if steps == 1 else (params, x, t)

    def torch_runner(form: torch.memory_format) -> Callable[[], Any]:
        images = [torch_images(part, form) for part in x]
        targets = [torch.tensor(part) for part in t]
        convs = [torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.Conv2d(6, 16, 5)]
        dense = [torch.nn.Linear(*shape) for shape in SHAPES[2:]]
        with torch.no_grad():
            for module, (w, b) in zip(convs, params, strict=False):
                module.weight.copy_(torch_kernels(w, form))
                module.bias.copy_(torch.tensor(b))  # pyright: ignore[reportOptionalMemberAccess]
        tail = [module for linear in dense for module in (torch.nn.ReLU(), linear)][1:]
        head = [m for conv in convs for m in (conv, torch.nn.ReLU(), torch.nn.MaxPool2d(2))]
        network = torch.nn.Sequential(*head, torch.nn.Flatten(), *tail).to(memory_format=form)  # pyright: ignore
        optimizer = torch.optim.SGD(network.parameters(), lr=RATE)

        def run() -> None:
            for image, target in zip(images, targets, strict=True):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(image), target).backward()
                optimizer.step()

        return run

    loop = f", {steps} steps in one lax.scan" if steps > 1 else ", one step"
    loop += f", jaxnets in parts of {micro_batch}" if micro_batch else ""
    return Case(
        f"LeNet-5, batch {batch}{loop}",
        wrap(lenet_loss),
        wrap(autodiff(lenet_loss)),
        natural(natural_lenet_loss),
        arguments,
        layouts(torch_runner),
    )


def network(
    title: str, params: Any, ours: Callable[..., jax.Array], described: Callable[..., Any], steps: int = 1
) -> Case:
    """Training of a whole network on 64 images of Fashion-MNIST's size: a step, or several in a loop.

    `ours(params, x)` are the logits by jaxnets, `described(operations, params, x)` those of its description.
    """
    random = np.random.default_rng(0)
    x = random.uniform(size=(steps, 64, 28, 28, 1)).astype(np.float32)
    t = random.integers(0, 10, (steps, 64)).astype(np.int32)
    wrap = training_step if steps == 1 else epoch
    operations = networks.xla()

    def loss(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        return softmax_cross_entropy_with_integer_labels(ours(params, x), t)

    def natural_loss(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        scores = jax.nn.log_softmax(described(operations, params, x))
        return -jnp.take_along_axis(scores, t[:, None], 1).mean()

    def torch_runner(form: torch.memory_format) -> Callable[[], Any]:
        images, labels = [torch_images(part, form) for part in x], torch.tensor(t).long()
        library = networks.pytorch()
        weights = networks.torch_parameters(params, form)
        optimizer = torch.optim.SGD(jax.tree.leaves(weights), lr=RATE)

        def loss(image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(described(library, weights, image), label)

        def run() -> None:
            for image, label in zip(images, labels, strict=True):
                optimizer.zero_grad()
                loss(image, label).backward()
                optimizer.step()

        first, wanted = (
            loss(images[0], labels[0]).item(),
            float(natural_loss(params, jnp.asarray(x[0]), jnp.asarray(t[0]))),
        )
        assert abs(first - wanted) < 1e-3 * wanted, f"{title}: PyTorch's loss is {first}, JAX's {wanted}"
        return run

    return Case(
        f"{title}, batch 64, " + ("one step" if steps == 1 else f"{steps} steps in one lax.scan"),
        wrap(loss),
        wrap(autodiff(loss)),
        wrap(natural_loss),
        (jax.tree.map(np.asarray, params), *((x[0], t[0]) if steps == 1 else (x, t))),
        layouts(torch_runner),
    )


def small_alexnet() -> Case:
    architecture = alexnet.small_images(0.25)
    params = alexnet.init(jax.random.key(0), architecture, (28, 28, 1), classes=10, weights=resnet.HE)
    return network(
        "AlexNet at a quarter of its width",
        params,
        lambda params, x: alexnet.apply(params, x, architecture=architecture),
        lambda ops, params, x: networks.alexnet_logits(ops, params, x, architecture),
    )


def resnet20(steps: int = 1) -> Case:
    architecture = resnet.small_images(20)
    params, statistics = resnet.init(jax.random.key(0), architecture, channels=1)
    return network(
        "ResNet-20",
        params,
        lambda params, x: resnet.apply(params, statistics, x, architecture=architecture, training=True)[0],
        lambda ops, params, x: networks.resnet_logits(ops, params, x, architecture),
        steps,
    )


def four_inception_modules() -> Case:
    architecture = inception.small_images(16)
    params = inception.init(jax.random.key(0), architecture, channels=1, classes=10)
    return network(
        "Four inception modules",
        params,
        lambda params, x: inception.apply(params, x, architecture=architecture).final,
        lambda ops, params, x: networks.inception_logits(ops, params, x, architecture),
    )


CASES: tuple[Callable[[], Case], ...] = (
    lambda: lenet(32),
    lambda: lenet(128),
    lambda: lenet(512),
    lambda: lenet(512, micro_batch=128),
    lambda: lenet(128, STEPS),
    lambda: layer(64, 32, 64, 64, 3),
    lambda: layer(64, 16, 128, 128, 3),
    lambda: layer(64, 8, 256, 256, 3),
    lambda: layer(64, 32, 64, 128, 3, 2),
    lambda: layer(64, 32, 64, 256, 1),
    lambda: pool(64, 32, 64),
    small_alexnet,
    resnet20,
    lambda: resnet20(2),
    four_inception_modules,
)

RECORD = comparison.Record(
    "convolution",
    "Convolutional layers and networks on a CPU",
    "Forward and backward, or steps of training. Whole networks amplify what float32 rounds: ResNet-20, of nineteen "
    "batch norms in a row, as much by hand as by autodiff.",
)

if __name__ == "__main__":
    comparison.main(RECORD, CASES)
