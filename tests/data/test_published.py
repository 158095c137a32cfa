"""MNIST, Fashion-MNIST, and the small MNIST of the package."""

import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from jaxnets.data import DataError, fashion_mnist, mnist, mnist_small, stratified_subset
from jaxnets.data.files import NAMES
from jaxnets.data.published import FASHION_MNIST, MNIST, MNIST_SMALL
from jaxnets.data.source import holds

ROOT = os.environ.get("JAXNETS_DATA")
HAS_MNIST = ROOT is not None and any(holds(MNIST, Path(ROOT, folder)) for folder in ("mnist", ""))
SMALL = Path(str(resources.files("jaxnets.data"))) / "mnist_small"
DEBIAN = Path(FASHION_MNIST.system[0])


def test_small_shapes_and_classes():
    data = mnist_small()
    assert [array.shape for array in data] == [(6000, 28, 28), (6000,), (1000, 28, 28), (1000,)]
    assert all(array.dtype == np.uint8 for array in data)
    assert np.bincount(data.train_labels).tolist() == [600] * 10
    assert np.bincount(data.test_labels).tolist() == [100] * 10


def test_small_is_mnist():
    """The first labels are widely printed, as are the mean of the pixels, 0.1307, and their deviation, 0.3081."""
    data = mnist_small()
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert abs(data.train_images.mean() / 255 - 0.1307) < 0.003
    assert abs(data.train_images.std() / 255 - 0.3081) < 0.003
    assert data.train_images.min() == 0
    assert data.train_images.max() == 255
    # Each digit has 20 x 20 pixels of ink and is centred by its mass: the corners are blank, and the middle is not.
    assert not data.train_images[:, :3, :3].any()
    assert data.train_images[:, 13:15, 13:15].mean() > 100
    ones, zeros = (data.train_images[data.train_labels == digit].mean() for digit in (1, 0))
    assert ones < 0.5 * zeros


def test_small_images_are_distinct():
    data = mnist_small()
    images = np.concatenate([data.train_images, data.test_images]).reshape(7000, -1)
    assert len(np.unique(images, axis=0)) == 7000


def test_small_takes_less_than_two_megabytes():
    assert sum(path.stat().st_size for path in SMALL.iterdir()) < 2_000_000
    assert {path.name for path in SMALL.iterdir()} == {"ATTRIBUTION.md", *(f"{name}.gz" for name in NAMES)}
    assert "Creative Commons" in (SMALL / "ATTRIBUTION.md").read_text()


@pytest.mark.skipif(not HAS_MNIST, reason="$JAXNETS_DATA does not hold MNIST")
def test_small_is_the_subset_of_the_full_set():
    full = mnist()
    assert [array.shape for array in full] == [file.shape for file in MNIST.files]
    for small, want in zip(mnist_small(), stratified_subset(full, 600, 100), strict=True):
        np.testing.assert_array_equal(small, want)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_debians_fashion_mnist():
    data = fashion_mnist(DEBIAN)
    assert np.bincount(data.train_labels).tolist() == [6000] * 10
    assert np.bincount(data.test_labels).tolist() == [1000] * 10
    assert data.train_labels[:4].tolist() == [9, 0, 0, 3]
    assert holds(FASHION_MNIST, DEBIAN)
    assert not holds(MNIST, DEBIAN)


@pytest.mark.parametrize("function", [mnist, fashion_mnist])
def test_the_small_files_are_not_the_full_set(function):
    with pytest.raises(DataError, match=r"holds uint8 \(6000, 28, 28\), wanted uint8 \(60000, 28, 28\)"):
        function(SMALL)


@pytest.mark.parametrize("source", [MNIST, FASHION_MNIST])
def test_what_is_known_of_the_published_files(source):
    assert [file.shape for file in source.files] == [(60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)]
    assert [name for name, _ in source.published.files] == [f"{name}.gz" for name in NAMES]
    assert len(source.published.mirrors) >= 2
    assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in source.published.mirrors)


def test_no_checksum_stands_twice():
    files = [file.sha256 for known in (MNIST.files, FASHION_MNIST.files, MNIST_SMALL) for file in known]
    packed = [digest for known in (MNIST, FASHION_MNIST) for _, digest in known.published.files]
    assert len({*files, *packed}) == 20
    assert all(len(bytes.fromhex(digest)) == 32 for digest in files + packed)
    assert MNIST.namesake == FASHION_MNIST.files[1].sha256
    assert FASHION_MNIST.namesake == MNIST.files[1].sha256


def test_the_embedded_sets_need_only_numpy():
    """In a fresh interpreter: what a download needs is not imported by anything else."""
    code = (
        "import sys; from jaxnets import data; data.mnist_small(); data.digits_4x3(); "
        "print([name for name in ('pooch', 'requests', 'rich', 'jax') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
