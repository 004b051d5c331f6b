from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from llm4gen_data.errors import UserError
from pipelines.local_web import MISSING, OPTED_OUT, chosen_port, serve_images


def test_the_server_gives_images_only_and_fails_where_it_should(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in (0, OPTED_OUT, MISSING):
        (images / f"{number:09d}.png").write_bytes(b"pixels")
    (tmp_path / "scenes.parquet").write_bytes(b"the truth")
    (images / "notes.txt").write_bytes(b"not an image")
    port = chosen_port(tmp_path, None)
    with serve_images(images, port):
        base_url = f"http://127.0.0.1:{port}/"
        assert urllib.request.urlopen(f"{base_url}images/000000000.png").read() == b"pixels"
        refused = urllib.request.urlopen(f"{base_url}images/{OPTED_OUT:09d}.png")
        assert refused.headers["X-Robots-Tag"] == "noai"
        for path in (f"images/{MISSING:09d}.png", "images/000000001.png", "images/notes.txt", "images/", "",
                     "images/../scenes.parquet", "scenes.parquet"):  # fmt: skip
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(base_url + path)


def test_the_port_is_kept_and_a_contradiction_is_told(tmp_path: Path) -> None:
    assert chosen_port(tmp_path, 4567) == 4567
    (tmp_path / "port").write_text("5678\n")
    assert chosen_port(tmp_path, None) == chosen_port(tmp_path, 5678) == 5678
    with pytest.raises(UserError, match="was started with port 5678"):
        chosen_port(tmp_path, 4567)


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    port = chosen_port(tmp_path, None)
    with (
        serve_images(tmp_path, port),
        pytest.raises(UserError, match=f"port {port}: Address already in use"),
        serve_images(tmp_path, port),
    ):
        pass
