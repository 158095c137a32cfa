"""The plays that are part of the package."""

import gzip
import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from jaxnets.data import DataError, decode, public_domain_text, windows
from jaxnets.data.text import read_text

FOLDER = Path(str(resources.files("jaxnets.data"))) / "shakespeare"
SHA256 = "b518a57462bb82d736a4ea506de61082cdcbf674a03a1fefd015c08e4d4ee930"


def test_the_text():
    train, test, characters = public_domain_text()
    assert train.dtype == test.dtype == np.int32
    text = decode(train, characters) + decode(test, characters)
    assert len(text) == 294_238 < 300_000
    assert hashlib.sha256(text.encode("ascii")).hexdigest() == SHA256
    assert text.startswith("ACT I.\n\nSCENE I. Athens.")
    assert text.endswith("Let your indulgence set me free.\n")
    for line in ("Lord, what fools these mortals be!", "Out, damned spot!", "We are such stuff\nAs dreams are made on"):
        assert line in text


def test_the_last_tenth_is_for_testing():
    train, test, _ = public_domain_text()
    assert len(test) == (len(train) + len(test)) // 10 == 29_423


def test_the_characters_are_those_of_the_text():
    train, test, characters = public_domain_text()
    assert list(characters) == sorted(set(characters))
    assert characters.isascii()
    assert all(character == "\n" or character.isprintable() for character in characters)
    assert len(characters) == 68
    assert (np.bincount(np.concatenate([train, test]), minlength=68) > 0).all()
    assert set(test) <= set(train)


def test_white_space_is_tidy():
    train, test, characters = public_domain_text()
    text = decode(train, characters) + decode(test, characters)
    assert "\n\n\n" not in text
    assert "  " not in text
    assert not any(line != line.strip() for line in text.split("\n"))


def test_callers_may_write_into_it():
    public_domain_text().train[:] = 0
    assert public_domain_text().train.any()


def test_files_and_their_size():
    assert {path.name for path in FOLDER.iterdir()} == {"ATTRIBUTION.md", "plays.txt.gz"}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 300_000
    attribution = (FOLDER / "ATTRIBUTION.md").read_text()
    for word in ("public domain", "Macbeth", "The Tempest", "A Midsummer\nNight's Dream", "`shakespeare` 0.6"):
        assert word in attribution


def test_a_damaged_file_is_noticed(tmp_path):
    path = tmp_path / "plays.txt.gz"
    path.write_bytes(gzip.compress(b"To be, or not to be"))
    with pytest.raises(DataError, match=r"plays\.txt\.gz: the contents have SHA-256 .*, wanted b518a5"):
        read_text(path, SHA256)
    path.write_bytes((FOLDER / "plays.txt.gz").read_bytes()[:1000])
    with pytest.raises(DataError, match="truncated"):
        read_text(path, SHA256)


def test_windows_overlap_by_one():
    np.testing.assert_array_equal(windows(np.arange(11), 3), [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]])
    np.testing.assert_array_equal(windows(np.arange(10), 3)[-1], [6, 7, 8, 9])
    assert windows(np.arange(9), 8).shape == (1, 9)


@pytest.mark.parametrize("length", [0, 9, 20])
def test_a_window_has_to_fit(length):
    with pytest.raises(ValueError, match=f"windows: length is {length}, wanted 1 to 8: there are 9 codes"):
        windows(np.arange(9), length)
