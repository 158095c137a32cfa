"""From stored images and labels to what a network is fed with."""

import re

import numpy as np
import pytest

from jaxnets.data import as_images, as_inputs, one_hot

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4) * 11


def test_inputs_are_rows_of_pixels_over_255():
    inputs = as_inputs(IMAGES)
    assert inputs.dtype == np.float32
    assert inputs.shape == (2, 12)
    np.testing.assert_allclose(inputs[1], IMAGES[1].reshape(-1) / 255, rtol=1e-6)
    assert as_inputs(np.full((1, 1, 2), 255, np.uint8)).tolist() == [[1.0, 1.0]]


def test_images_have_one_channel():
    images = as_images(IMAGES)
    assert images.dtype == np.float32
    assert images.shape == (2, 3, 4, 1)
    np.testing.assert_array_equal(images.reshape(2, 12), as_inputs(IMAGES))


def test_no_images():
    assert as_inputs(np.zeros((0, 3, 4), np.uint8)).shape == (0, 12)
    assert as_images(np.zeros((0, 3, 4), np.uint8)).shape == (0, 3, 4, 1)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize("function", [as_inputs, as_images])
@pytest.mark.parametrize("images", [IMAGES.astype(np.float32), IMAGES[0], IMAGES[..., None]])
def test_bad_images(function, images):
    message = f"{function.__name__}: images is {images.dtype} {images.shape}, wanted uint8 (n, h, w)"
    with pytest.raises(ValueError, match=re.escape(message)):
        function(images)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_one_hot(dtype):
    rows = one_hot(np.array([2, 0], dtype), 3)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_one_hot_of_nothing():
    assert one_hot(np.zeros(0, np.uint8), 10).shape == (0, 10)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 3], np.uint8), "one_hot: labels has 3, wanted 0 to 2 (n_classes 3)"),
        (np.array([0, -1]), "one_hot: labels has -1, wanted 0 to 2 (n_classes 3)"),
        (np.array([0.0, 1.0]), "one_hot: labels is float64 (2,), wanted integers on one axis"),
        (np.array([[0, 1]]), "one_hot: labels is int64 (1, 2), wanted integers on one axis"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        one_hot(labels, 3)
