"""Deep belief networks: the bound, exactly, on small ones; both ways to fine-tune; and that pre-training helps."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.data import as_inputs, digits_6x6, mnist_small, one_hot
from jaxnets.nets import dbn, dbn_bound, greedy, mlp, rbm, up_down
from jaxnets.nets.associative_memory import associative_memory, label_scores, of_class
from jaxnets.nets.contrastive_divergence import gibbs
from jaxnets.nets.mlp import Layer
from jaxnets.ops.losses import softmax_cross_entropy_with_integer_labels
from jaxnets.train import accuracy, fit, gradient_step, init_state


def stack(*sizes, scale=1.0, seed=0):
    generator = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(scale * generator.normal(size=shape))
    return tuple(rbm.Params(draw(m, n), draw(m), draw(n)) for m, n in itertools.pairwise(sizes))


def all_states(units):
    """In the library's order, the lowest digit first."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=units)))[:, ::-1].copy()


@pytest.mark.usefixtures("x64")
class TestBound:
    def test_against_loops(self):
        params = stack(4, 3, 2)
        (w, b, c), top = jax.tree.map(np.asarray, params)
        v = all_states(4)[[1, 6, 9]]
        sigmoid = lambda z: 1 / (1 + np.exp(-z))
        hidden = all_states(3)
        unnormalized = np.array(
            [sum(np.exp(h @ top.b + g @ top.c + h @ top.w @ g) for g in all_states(2)) for h in hidden]
        )
        prior = np.log(unnormalized / unnormalized.sum())
        bounds, exact_ones = (f(params, jnp.asarray(v)) for f in (dbn_bound.lower_bound, dbn_bound.log_likelihood))
        for row, bound, exact in zip(v, bounds, exact_ones, strict=True):
            q = sigmoid(c + row @ w)
            total, marginal = 0.0, 0.0
            for h, log_prior in zip(hidden, prior, strict=True):
                p = sigmoid(b + w @ h)
                log_p = np.log(np.where(row == 1, p, 1 - p)).sum()
                of_q = np.prod(np.where(h == 1, q, 1 - q))
                total += of_q * (log_p + log_prior - np.log(of_q))
                marginal += np.exp(log_p + log_prior)
            assert float(bound) == pytest.approx(total, rel=1e-12)
            assert float(exact) == pytest.approx(np.log(marginal), rel=1e-12)

    def test_probabilities_sum_to_one_and_bounds_to_less(self):
        params, v = stack(4, 3, 2, 3), jnp.asarray(all_states(4))
        exact, bound = dbn_bound.log_likelihood(params, v), dbn_bound.lower_bound(params, v)
        assert float(jnp.exp(exact).sum()) == pytest.approx(1, rel=1e-12)
        assert (bound < exact).all()
        assert (dbn_bound.lower_bound(params[:1], v) == dbn_bound.log_likelihood(params[:1], v)).all()

    def test_a_tied_layer_changes_nothing_and_training_it_only_raises_the_bound(self):
        """And with it what the likelihood is at least: it does not fall below that of the RBM."""
        v = jnp.asarray(all_states(4)[[0, 3, 5, 15]])
        mean_of = lambda params: dbn_bound.lower_bound(params, v).mean()

        @functools.partial(jax.jit, static_argnums=0)
        def ascend(f, params, rate):
            """400 steps along the exact gradient, and f before each."""

            def step(params, _):
                value, gradient = jax.value_and_grad(f)(params)
                return jax.tree.map(lambda p, g: p + rate * g, params, gradient), value

            return jax.lax.scan(step, params, None, length=400)

        one, learnt = ascend(mean_of, stack(4, 3, scale=0.3), 0.2)
        assert learnt[-1] > learnt[0] + 0.5
        two = dbn_bound.with_tied_layer(one)
        log_p = dbn_bound.log_likelihood(one, v)
        np.testing.assert_allclose(dbn_bound.lower_bound(two, v), log_p, rtol=1e-12)
        np.testing.assert_allclose(dbn_bound.log_likelihood(two, v), log_p, rtol=1e-12)

        top, bounds = ascend(lambda top: mean_of((*one, top)), two[1], 1.0)
        assert float(bounds[0]) == pytest.approx(float(log_p.mean()), rel=1e-12)
        assert (jnp.diff(bounds) > 0).all()
        assert bounds[-1] > bounds[0] + 0.01
        assert dbn_bound.log_likelihood((*one, top), v).mean() > bounds[-1]

    def test_the_wake_phase_is_the_gradient_of_the_bound(self):
        """With respect to the generative weights, in the mean over its draws."""
        params = stack(4, 3, 2)
        v, t = jnp.asarray(all_states(4)[[0, 3, 5, 15, 9]]), jnp.ones((5, 1))
        (w, b, c), top = params
        # A label that is always on is a part of the biases; its weights begin at 0.
        with_label = top._replace(
            w=jnp.concatenate([top.w, jnp.zeros((1, 2))]), b=jnp.concatenate([top.b, jnp.zeros(1)])
        )
        untied = up_down.untie((params[0], with_label))
        keys = jax.random.split(jax.random.key(0), 20_000)
        draws, _ = jax.jit(jax.vmap(lambda key: up_down.up_down(untied, v, t, key, steps=1)))(keys)

        above = -rbm.free_energy(top, jnp.asarray(all_states(3))) - rbm.log_partition(top)
        bound = lambda generative: dbn_bound.layer_bound(Layer(w, c), generative, v, above).mean()
        exact = jax.grad(bound)(Layer(w.T, b))
        for mine, truth in zip(draws.generative[0], exact, strict=True):
            error = mine.std(0) / np.sqrt(len(keys))
            assert (abs(mine.mean(0) + truth) < 4.5 * error).all()
            assert (error < 0.1 * abs(truth).max()).all()


@pytest.mark.usefixtures("x64")
class TestNetwork:
    def test_what_is_generated_has_the_means_of_the_network(self):
        params = stack(4, 3, 2)
        v = jnp.asarray(all_states(4))
        p = jnp.exp(dbn_bound.log_likelihood(params, v))
        drawn = jax.jit(functools.partial(dbn.generate, steps=30))(params, jnp.zeros((4000, 3)), jax.random.key(0))
        assert (abs(drawn.mean(0) - p @ v) < 4.5 * drawn.std(0) / np.sqrt(4000)).all()

    def test_the_classifier_begins_as_the_pass_upwards(self):
        params, v = stack(5, 4, 3), jnp.asarray(all_states(5)[::7])
        network = dbn.classifier(params, jax.random.key(0), 10, scale=0.1)
        _, residuals = mlp.mlp_forward(network, v, activations=dbn.activations_of(params))
        for mine, a in zip(dbn.hidden_probabilities(params, v), residuals.inputs[1:], strict=True):
            np.testing.assert_allclose(mine, a, rtol=1e-14)
        labels = jnp.arange(len(v))
        loss = lambda network: softmax_cross_entropy_with_integer_labels(
            mlp.apply(network, v, activations=dbn.activations_of(params)), labels
        )
        without = functools.partial(dbn.fine_tuning_loss, batch=(v, labels), key=jax.random.key(1), rate=0.0)
        chex.assert_trees_all_close(
            jax.jit(jax.value_and_grad(loss))(network), jax.jit(jax.value_and_grad(without))(network), rtol=1e-12
        )
        assert dbn.fine_tuning_loss(network, (v, labels), jax.random.key(1), rate=0.5) != loss(network)

    def test_labels_are_a_group_of_visible_units(self):
        """Scores are free energies; with the labels held, chains draw what the machine has for them."""
        (top,) = stack(3 + 2, 2, scale=1.5)
        x, t = jnp.asarray(all_states(3)), jnp.eye(2)
        each = [-rbm.free_energy(top, jnp.concatenate([x, jnp.tile(row[None], (8, 1))], 1)) for row in t]
        posterior = lambda scores: jax.nn.log_softmax(scores, axis=1)
        np.testing.assert_allclose(posterior(label_scores(top, x, 2)), posterior(jnp.stack(each, 1)), rtol=1e-12)

        joint = jnp.exp(jnp.stack(each, 1))
        start = jnp.zeros((4000, 5)).at[:, 3].set(1.0)
        run = lambda machine: jax.jit(lambda key: gibbs(top, start, key, steps=40, machine=machine)[0])(
            jax.random.key(0)
        )
        held, free = run(of_class(start[:, 3:])), run(associative_memory(2))
        wanted = joint[:, 0] / joint[:, 0].sum() @ x
        assert (held[:, 3:] == start[:, 3:]).all()
        assert (abs(held[:, :3].mean(0) - wanted) < 4.5 * np.sqrt(wanted * (1 - wanted) / 4000)).all()
        assert (free[:, 3:].sum(1) == 1).all()
        share = float(joint[:, 0].sum() / joint.sum())
        assert abs(free[:, 3].mean() - share) < 4.5 * np.sqrt(share * (1 - share) / 4000)

    def test_up_and_down_on_small_digits(self):
        digits = digits_6x6()
        v, t = jnp.asarray(digits.images.reshape(96, 36), float), jnp.asarray(one_hot(digits.labels, 3), float)
        first, top = greedy.init_stack(jax.random.key(0), (36, 24, 20), scale=0.1, dtype=float)
        top = rbm.init(jax.random.key(1), 24 + 3, 20, scale=0.1, dtype=float)
        optimizer = optax.sgd(0.1, momentum=0.5)
        train = functools.partial(greedy.pretrain, optimizer=optimizer, batch_size=16, epochs=60)
        (first,), features = train([first], v, key=jax.random.key(2))
        joint = jnp.concatenate([features, t], 1)
        (top,), _ = train([top], joint, key=jax.random.key(3), machines=[associative_memory(3)])
        params = up_down.untie((first, top))
        optimizer = optax.sgd(0.02)
        state, history = fit(
            up_down.up_down_step(optimizer, steps=2),
            up_down.init_up_down(params, optimizer, jax.random.key(4)),
            (v, t),
            key=jax.random.key(5),
            batch_size=16,
            epochs=100,
        )
        labels = jnp.asarray(digits.labels)
        errors = [epoch.loss for epoch in history]
        assert np.mean(errors[-10:]) < 0.95 * np.mean(errors[:10])
        assert accuracy(up_down.scores(state.params, v, 3), labels) >= 0.95
        # The weights upwards and downwards have parted; what is generated for a class is recognised as it.
        assert jnp.abs(state.params.recognition[0].w - state.params.generative[0].w.T).max() > 0.1
        drawn = up_down.generate(state.params, jnp.tile(jnp.eye(3), (100, 1)), jax.random.key(6), steps=200)
        assert drawn.shape == (300, 36)
        assert accuracy(up_down.scores(state.params, drawn, 3), jnp.tile(jnp.arange(3), 100)) >= 0.9

    @pytest.mark.usefixtures("own_errors")
    def test_what_does_not_fit_is_named(self):
        key, params, v = jax.random.key(0), stack(4, 3, 2), jnp.zeros((5, 4))
        misfit = (params[0], params[0])
        with pytest.raises(ValueError, match="hidden_probabilities: got no RBM"):
            dbn.hidden_probabilities((), v)
        with pytest.raises(ValueError, match="generate: RBM 1 has 3 hidden units, the next 4 visible ones"):
            dbn.generate(misfit, v, key, steps=1)
        with pytest.raises(ValueError, match="classifier: got 0 classes, wanted at least 1"):
            dbn.classifier(params, key, 0)
        with pytest.raises(
            ValueError, match=r"layer_bound: v is \(5, 4\), recognition \(4, 3\) and \(3,\), generative"
        ):
            dbn_bound.layer_bound(Layer(*params[0][::2]), Layer(*params[0][::2]), v, jnp.zeros(8))
        w, b, c = params[0]
        with pytest.raises(ValueError, match=r"layer_bound: above has shape \(7,\), wanted \(8,\)"):
            dbn_bound.layer_bound(Layer(w, c), Layer(w.T, b), v, jnp.zeros(7))
        with pytest.raises(ValueError, match="lower_bound: a hidden layer has 21 units, wanted at most 20"):
            dbn_bound.lower_bound(stack(4, 21, 3), v)
        with pytest.raises(ValueError, match=r"init_stack: sizes are \(4,\), wanted at least two positive numbers"):
            greedy.init_stack(key, (4,))
        options = {"key": key, "batch_size": 1, "epochs": 1}
        with pytest.raises(ValueError, match="pretrain: got 1 machines for 2 RBMs"):
            greedy.pretrain(params, v, optax.sgd(0.1), machines=[associative_memory(1)], **options)
        with pytest.raises(
            ValueError, match=r"pretrain: RBM 1 has 4 visible units, and is given data of shape \(5, 3\)"
        ):
            greedy.pretrain(params, v[:, :3], optax.sgd(0.1), **options)
        with pytest.raises(ValueError, match="associative_memory: got 0 classes"):
            associative_memory(0)
        with pytest.raises(ValueError, match=r"label_scores: x has shape \(5, 4\), wanted \(batch, 2\), and 2 labels"):
            label_scores(params[0], v, 2)
        with pytest.raises(
            ValueError, match=r"up_down: v has shape .* 3 visible ones for the last of them and 2 labels"
        ):
            up_down.up_down(up_down.untie(params), v, jnp.zeros((5, 2)), key, steps=1)
        with pytest.raises(ValueError, match="scores: a layer over 3 units has weights"):
            up_down.scores(up_down.untie(params), v[:, :3], 1)


def test_pre_training_helps_where_labels_are_few():
    """784-200-200-10 on 100 labels, from RBMs trained on 6000 images without labels and from random weights."""
    digits = mnist_small()
    images, labels = jnp.asarray(as_inputs(digits.train_images)), jnp.asarray(digits.train_labels, jnp.int32)
    test_images, test_labels = jnp.asarray(as_inputs(digits.test_images)), jnp.asarray(digits.test_labels, jnp.int32)
    sizes, labelled = (784, 200, 200), 100
    first, second = greedy.init_stack(jax.random.key(0), sizes)
    rbms, _ = greedy.pretrain(
        (first._replace(b=rbm.data_biases(images)), second),
        images,
        optax.sgd(0.05, momentum=0.9),
        key=jax.random.key(1),
        batch_size=50,
        epochs=5,
    )
    activations = dbn.activations_of(rbms)
    optimizer = optax.adam(3e-3)
    step = gradient_step(functools.partial(loss_of, activations), optimizer)

    def fine_tuned(start, key):
        """The loss on the labelled images, and the accuracy on test images, after 500 steps."""
        chosen = jax.random.permutation(key, len(images))[:labelled]
        x, t = images[chosen], labels[chosen]

        def once(state, key):
            batch = jax.random.permutation(key, labelled)[:20]
            return step(state, (x[batch], t[batch]))[0], None

        state, _ = jax.lax.scan(once, init_state(start, optimizer), jax.random.split(key, 500))
        scores = mlp.apply(state.params, test_images, activations=activations)
        return loss_of(activations, state.params, (x, t)), accuracy(scores, test_labels)

    keys = jax.random.split(jax.random.key(2), 4)
    top = (Layer(jnp.zeros((200, 10)), jnp.zeros(10)),)
    zeros = jax.nn.initializers.zeros
    random = lambda key: (*mlp.init(key, sizes, weights=mlp.GLOROT, biases=zeros), *top)
    starts = [dbn.classifier(rbms, keys[0], 10) for _ in keys] + [random(key) for key in keys]
    starts = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    losses, accuracies = jax.jit(jax.vmap(fine_tuned))(starts, jnp.concatenate([keys, keys]))
    assert (losses < 0.05).all(), "both have learnt the labelled images"
    pretrained, randomly = accuracies.reshape(2, -1)
    assert (pretrained > randomly).all()
    assert pretrained.mean() > randomly.mean() + 0.05


def loss_of(activations, params, batch):
    return softmax_cross_entropy_with_integer_labels(mlp.apply(params, batch[0], activations=activations), batch[1])
