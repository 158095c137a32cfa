"""Downloads, from mirrors on this machine that work, fail or lie."""

import functools
import http.server
import re
import shutil
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from jaxnets.data import DataError
from jaxnets.data.files import NAMES
from jaxnets.data.source import load


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def serve(folder):
    """Yield the address of a server of the folder's files, and the list of the paths that it was asked for."""
    asked = []

    class Handler(Quiet):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def from_mirrors(source, *mirrors):
    return source._replace(published=source.published._replace(mirrors=mirrors))


def assert_same(got, want):
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def in_cache(cache):
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


def test_the_files_are_downloaded_once(packed, cache, source, tiny):
    with serve(packed) as (address, asked):
        source = from_mirrors(source, address)
        assert_same(load(source, None), tiny)
        assert asked == [f"/{name}.gz" for name in NAMES]
        assert_same(load(source, None), tiny)
        assert len(asked) == 4
    assert in_cache(cache) == sorted(f"{name}.gz" for name in NAMES)


def test_an_interrupted_download_goes_on(packed, cache, source, tiny):
    cache.mkdir(parents=True)
    for name in NAMES[:2]:
        shutil.copy(packed / f"{name}.gz", cache)
    with serve(packed) as (address, asked):
        assert_same(load(from_mirrors(source, address), None), tiny)
        assert asked == [f"/{name}.gz" for name in NAMES[2:]]


def test_the_next_mirror_is_tried(packed, cache, source, tiny, tmp_path):
    """The first mirror lacks a file, the second is down."""
    partial = tmp_path / "partial"
    shutil.copytree(packed, partial)
    (partial / f"{NAMES[2]}.gz").unlink()
    with serve(packed) as (down, _):
        pass
    with serve(partial) as (first, asked_first), serve(packed) as (last, asked_last):
        assert_same(load(from_mirrors(source, first, down, last), None), tiny)
        assert len(asked_first) == 4
        assert asked_last == [f"/{NAMES[2]}.gz"]


def test_a_wrong_checksum_leaves_nothing_behind(packed, cache, source, tmp_path):
    wrong = tmp_path / "wrong"
    shutil.copytree(packed, wrong)
    shutil.copy(packed / f"{NAMES[2]}.gz", wrong / f"{NAMES[0]}.gz")
    with serve(wrong) as (address, _), pytest.raises(DataError) as caught:
        load(from_mirrors(source, address), None)
    assert re.search(rf"{address}{NAMES[0]}.gz: SHA256 hash .* does not match the known hash", str(caught.value))
    assert in_cache(cache) == []


def test_a_wrong_checksum_leads_to_the_next_mirror(packed, cache, source, tiny, tmp_path):
    wrong = tmp_path / "wrong"
    shutil.copytree(packed, wrong)
    (wrong / f"{NAMES[0]}.gz").write_bytes(b"<html>Sign in to this network</html>")
    with serve(wrong) as (first, _), serve(packed) as (second, asked):
        assert_same(load(from_mirrors(source, first, second), None), tiny)
        assert asked == [f"/{NAMES[0]}.gz"]


def test_no_mirror_delivers(cache, source, tmp_path):
    (tmp_path / "empty").mkdir()
    with serve(tmp_path / "empty") as (down, _):
        pass
    with serve(tmp_path / "empty") as (empty, _), pytest.raises(DataError) as caught:
        load(from_mirrors(source, empty, down), None)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"tiny: no mirror delivered {NAMES[0]}.gz:"
    assert re.match(rf"  {empty}{NAMES[0]}\.gz: 404 ", lines[1])
    assert re.match(rf"  {down}{NAMES[0]}\.gz: .*refused", lines[2])
    assert lines[3].startswith(f"Put the four files ({NAMES[0]}.gz, {NAMES[1]}.gz, ")
    assert "pass it as `folder`, or set JAXNETS_DATA to a folder that holds them in its sub-folder tiny." in lines[3]
    assert in_cache(cache) == []


def test_a_bar_is_drawn_on_a_terminal(packed, cache, source, tiny, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with serve(packed) as (address, _):
        assert_same(load(from_mirrors(source, address), None), tiny)
    out, err = capsys.readouterr()
    assert out == ""
    for name in NAMES:
        assert f"{name}.gz" in err
    size = (packed / f"{NAMES[0]}.gz").stat().st_size / 1000
    assert f"{size:.1f}/{size:.1f} kB" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", err)
