"""Classic neural networks as pure JAX functions, with hand-derived backpropagation checked against `jax.grad`."""
