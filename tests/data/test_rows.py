"""Images as sequences of rows."""

import re

import numpy as np
import pytest

from jaxnets.data import as_images, as_rows

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4) * 11


def test_a_row_of_pixels_is_a_time_step():
    rows = as_rows(IMAGES)
    assert rows.dtype == np.float32
    assert rows.shape == (2, 3, 4)
    np.testing.assert_array_equal(rows, as_images(IMAGES)[..., 0])
    np.testing.assert_allclose(rows[1, 2], IMAGES[1, 2] / 255, rtol=1e-6)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize("images", [IMAGES.astype(np.float32), IMAGES[0]])
def test_bad_images(images):
    message = f"as_rows: images is {images.dtype} {images.shape}, wanted uint8 (n, h, w)"
    with pytest.raises(ValueError, match=re.escape(message)):
        as_rows(images)
