"""Classic neural networks as pure JAX functions, with backpropagation derived by hand and checked against `jax.grad`."""
