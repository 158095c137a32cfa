"""Accuracy, and evaluation in batches: the same as on the whole set, in less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.train import accuracy, apply_in_batches, mean_in_batches

SIZES = [1, 3, 5, 7, 23, 100]


def data(n=23):
    k1, k2 = jax.random.split(jax.random.key(3))
    return {"x": jax.random.normal(k1, (n, 4)), "t": jax.random.randint(k2, (n,), 0, 4)}


def test_accuracy_counts_the_largest_output_and_the_first_of_equal_ones():
    outputs = jnp.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5], [0.5, 0.5]])
    assert accuracy(outputs, jnp.array([1, 1, 0, 1])) == 0.5
    assert accuracy(outputs, jnp.array([1, 0, 0, 0], jnp.uint8)) == 1.0
    assert accuracy(outputs.reshape(2, 2, 2), jnp.array([[1, 0], [1, 1]])) == 0.5


@pytest.mark.parametrize(
    "labels", [jnp.zeros(3, int), jnp.zeros((4, 2), int), jnp.zeros(4)], ids=["too few", "one-hot", "floats"]
)
def test_accuracy_names_labels_that_do_not_fit(own_errors, labels):
    with pytest.raises(ValueError, match=r"accuracy: labels are .*, wanted integers of shape \[4\]"):
        accuracy(jnp.zeros((4, 2)), labels)


@pytest.mark.parametrize("batch_size", SIZES)
def test_mean_in_batches_is_the_mean_of_the_whole(batch_size):
    def metrics(batch):
        return {
            "loss": jnp.mean(jnp.sum(batch["x"] ** 2, axis=1)),
            "accuracy": accuracy(batch["x"], batch["t"]),
        }

    whole = metrics(data())
    batched = mean_in_batches(metrics, data(), batch_size=batch_size)
    assert 0 < whole["accuracy"] < 1
    for name in whole:
        np.testing.assert_allclose(batched[name], whole[name], rtol=1e-6)


@pytest.mark.parametrize("batch_size", SIZES)
def test_apply_in_batches_is_the_function_of_the_whole(batch_size):
    def function(batch):
        return {"square": batch["x"] ** 2, "label": batch["t"]}

    batched = apply_in_batches(function, data(), batch_size=batch_size)
    np.testing.assert_array_equal(batched["square"], data()["x"] ** 2)
    np.testing.assert_array_equal(batched["label"], data()["t"])


def test_numpy_data_and_jit_work():
    x = np.arange(10, dtype=np.float32)
    assert mean_in_batches(jnp.mean, x, batch_size=4) == 4.5
    assert jax.jit(lambda x: mean_in_batches(jnp.mean, x, batch_size=3))(x) == 4.5
    np.testing.assert_array_equal(jax.jit(lambda x: apply_in_batches(jnp.negative, x, batch_size=4))(x), -x)


def test_a_bfloat16_mean_is_rounded_once():
    x = jax.random.normal(jax.random.key(0), (200, 5), jnp.bfloat16)
    means = jax.vmap(lambda x: mean_in_batches(jnp.mean, x, batch_size=2))(x)
    each = np.stack([x[:, :2].mean(1), x[:, 2:4].mean(1), x[:, 4]]).astype(np.float32)
    assert means.dtype == jnp.bfloat16
    np.testing.assert_array_equal(means, np.average(each, axis=0, weights=[2, 2, 1]).astype(jnp.bfloat16))


def test_float64_stays_float64():
    with jax.enable_x64(True):
        x = jnp.linspace(0.0, 1.0, 11) ** 2
        assert mean_in_batches(jnp.mean, x, batch_size=4).dtype == jnp.float64
        np.testing.assert_allclose(mean_in_batches(jnp.mean, x, batch_size=4), x.mean(), rtol=1e-15)


@pytest.mark.parametrize("evaluate", [mean_in_batches, apply_in_batches])
def test_temporaries_grow_with_the_batch_and_not_with_the_set(evaluate):
    def wide(x):
        return jnp.sin(x @ jnp.ones((4, 4096))).max(axis=1).mean(keepdims=evaluate is apply_in_batches) + 0 * x[:, 0]

    def function(x):
        return wide(x) if evaluate is apply_in_batches else wide(x).mean()

    def temporaries(f):
        compiled = jax.jit(f).lower(jax.ShapeDtypeStruct((2003, 4), jnp.float32)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(lambda x: evaluate(function, x, batch_size=100)) < temporaries(function) / 5


@pytest.mark.parametrize("evaluate", [mean_in_batches, apply_in_batches])
def test_errors_name_the_function_and_what_was_wrong(evaluate):
    name = evaluate.__name__
    with pytest.raises(ValueError, match=f"{name}: batch_size is 0, wanted at least 1"):
        evaluate(jnp.mean, jnp.ones(3), batch_size=0)
    with pytest.raises(ValueError, match=f"{name}: data has no examples"):
        evaluate(jnp.mean, jnp.ones((0, 3)), batch_size=1)
    with pytest.raises(ValueError, match=rf"{name}: data\[1\] has 4 examples, data\[0\] has 3"):
        evaluate(jnp.mean, (jnp.ones(3), jnp.ones(4)), batch_size=1)


def test_results_of_the_wrong_kind_are_refused():
    with pytest.raises(ValueError, match="mean_in_batches: function returned int32, wanted floating-point means"):
        mean_in_batches(lambda x: jnp.sum(x > 0), jnp.ones(3), batch_size=1)
    with pytest.raises(ValueError, match=r"apply_in_batches: function returned shape \(\) for a batch of 2"):
        apply_in_batches(jnp.mean, jnp.ones(4), batch_size=2)
