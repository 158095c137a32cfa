"""The places where a data set is looked for, in their order."""

import hashlib
import re
import shutil

import numpy as np
import pytest

from jaxnets.data import DataError, Dataset, encode_idx, write_dataset
from jaxnets.data.files import NAMES
from jaxnets.data.source import load, locate


@pytest.fixture
def put(tiny):
    """Put the files into a folder, and return it."""

    def put(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_dataset(folder, tiny)
        return folder

    return put


def test_first_come_first_served(put, cache, source, tmp_path, monkeypatch):
    root = tmp_path / "root"
    monkeypatch.setenv("JAXNETS_DATA", str(root))
    places = [put(tmp_path / "given"), put(root / "tiny"), put(root), put(cache), put(tmp_path / "system")]
    source = source._replace(system=(str(tmp_path / "absent"), str(places[-1])))
    assert locate(source, places[0]) == places[0]
    assert locate(source, str(places[0])) == places[0]
    for place in places[1:]:
        assert locate(source, None) == place
        for name in NAMES:
            (place / f"{name}.gz").unlink()
    with pytest.raises(DataError, match="tiny: no mirror delivered"):
        locate(source, None)


def test_what_is_read_is_the_data_set(packed, source, tiny, monkeypatch, cache):
    for array, want in zip(load(source, packed), tiny, strict=True):
        np.testing.assert_array_equal(array, want)
    monkeypatch.setenv("JAXNETS_DATA", str(packed))
    for array, want in zip(load(source, None), tiny, strict=True):
        np.testing.assert_array_equal(array, want)


@pytest.mark.parametrize("value", ["", "absent"])
def test_a_variable_that_leads_nowhere_is_passed_over(put, cache, source, tmp_path, monkeypatch, value):
    put(cache)
    monkeypatch.chdir(put(tmp_path / "here"))
    monkeypatch.setenv("JAXNETS_DATA", value)
    assert locate(source, None) == cache


@pytest.mark.usefixtures("cache")
def test_the_home_folder_may_be_a_tilde(put, source, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JAXNETS_DATA", "~/mine")
    mine = put(tmp_path / "mine")
    assert locate(source, None) == mine
    assert locate(source, "~/mine") == mine


def test_a_given_folder_without_the_files_is_an_error(put, cache, source, tmp_path, monkeypatch):
    put(cache)
    monkeypatch.setenv("JAXNETS_DATA", str(put(tmp_path / "root")))
    (tmp_path / "empty").mkdir()
    message = f"tiny: {tmp_path / 'empty'} has no {', '.join(NAMES)} (plain or .gz)"
    with pytest.raises(DataError, match=re.escape(message)):
        locate(source, tmp_path / "empty")
    absent = tmp_path / "absent"
    with pytest.raises(DataError, match=re.escape(f"tiny: {absent} is no folder, so it has no {NAMES[0]}")):
        locate(source, absent)


@pytest.mark.usefixtures("cache")
def test_a_folder_with_some_of_the_files_is_an_error(put, source, tmp_path, monkeypatch):
    root = put(tmp_path / "root")
    (root / f"{NAMES[3]}.gz").unlink()
    monkeypatch.setenv("JAXNETS_DATA", str(root))
    with pytest.raises(DataError, match=re.escape(f"tiny: {root} has no {NAMES[3]} (plain or .gz)")):
        locate(source, None)
    with pytest.raises(DataError, match=re.escape(f"tiny: {root} has no {NAMES[3]} (plain or .gz)")):
        locate(source, root)


def test_a_damaged_file_is_an_error_and_not_passed_over(packed, cache, source, monkeypatch):
    shutil.copytree(packed, cache)
    (packed / f"{NAMES[0]}.gz").write_bytes((packed / f"{NAMES[0]}.gz").read_bytes()[:-20])
    monkeypatch.setenv("JAXNETS_DATA", str(packed))
    with pytest.raises(DataError, match=re.escape(f"{packed / NAMES[0]}.gz: truncated")):
        load(source, None)


def test_another_data_set_with_files_of_the_same_names_is_passed_over(packed, cache, source, tiny, monkeypatch):
    """As when $JAXNETS_DATA holds MNIST itself, not in a sub-folder, and Fashion-MNIST is asked for."""
    shutil.copytree(packed, cache)
    other = Dataset(tiny.train_images, 9 - tiny.train_labels, tiny.test_images, tiny.test_labels)
    labels = hashlib.sha256(encode_idx(other.train_labels)).hexdigest()
    write_dataset(packed, other)
    monkeypatch.setenv("JAXNETS_DATA", str(packed))
    source = source._replace(namesake=labels)
    np.testing.assert_array_equal(load(source, None).train_labels, tiny.train_labels)
    with pytest.raises(DataError, match=f"the contents have SHA-256 {labels}"):
        load(source, packed)
