"""``hai train``: a share of the CPU, a limit of temperature, and the page of a training."""

from __future__ import annotations

import os
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from test_command_line import PROGRAM, run
from test_train_command import network, pictures

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")

FLAGS = ["--epochs", "6", "--held-out", "0.25", "--threads", "1"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return pictures(tmp_path / "data", 16)


def command(model: Path, data: Path, out: Path, *flags: object) -> list[str]:
    return [str(PROGRAM), "train", str(model), "--data", str(data), "--out", str(out), *FLAGS, *map(str, flags)]


def zone(folder: Path, name: str, degrees: float) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "temp").write_text(f"{round(degrees * 1000)}\n")


def test_a_share_of_the_cpu_changes_time_alone(tmp_path: Path, data: Path) -> None:
    model = network(tmp_path)
    subprocess.run(command(model, data, tmp_path / "all.hai"), check=True, capture_output=True)
    begin, before = time.monotonic(), os.times()
    subprocess.run(command(model, data, tmp_path / "some.hai", "--cpu-share", "5%"), check=True, capture_output=True)
    after = os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    # Reading the pictures and measuring are not limited; without a limit the share is above one half.
    assert used / (time.monotonic() - begin) < 0.35
    assert (tmp_path / "some.hai").read_bytes() == (tmp_path / "all.hai").read_bytes()
    for share in ("0", "101%", "nan", "half", "-5%", "50%%"):
        run("train", model, "--data", data, "--out", tmp_path / "x.hai", "--cpu-share", share, code=2)


def test_it_waits_while_the_machine_is_hot(tmp_path: Path, data: Path) -> None:
    model = network(tmp_path)
    zones = tmp_path / "thermal"
    zone(zones, "thermal_zone0", 40)
    zone(zones, "thermal_zone1", 80)
    (zones / "cooling_device0").mkdir()
    flags = ("--max-temperature", 75, "--thermal-folder", zones)
    with subprocess.Popen(command(model, data, tmp_path / "new.hai", *flags), stderr=subprocess.PIPE) as process:
        time.sleep(0.7)
        assert process.poll() is None
        zone(zones, "thermal_zone1", 73)  # below the limit, but not by 3 degrees
        time.sleep(0.7)
        assert process.poll() is None
        zone(zones, "thermal_zone1", 71.9)
        assert process.wait(timeout=60) == 0
    assert (tmp_path / "new.hai").exists()
    zone(zones, "thermal_zone1", 90)
    with subprocess.Popen(command(model, data, tmp_path / "stopped.hai", *flags), stderr=subprocess.PIPE) as process:
        time.sleep(0.7)
        process.terminate()  # an interrupt is seen while it waits
        assert process.wait(timeout=10) == 130
    out = tmp_path / "x.hai"
    said = run(*command(model, data, out, "--max-temperature", 75, "--thermal-folder", tmp_path / "no")[1:], code=1)
    assert "HAI-L160" in said


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_by_itself_and_names_are_harmless(tmp_path: Path, data: Path) -> None:
    evil = "<img src=x onerror=alert(1)>&\"'\x1b[31m"
    (data / "red").rename(data / evil)
    Image.new("RGB", (3, 700), (200, 50, 40)).save(data / evil / "</small><script>alert(2)<!--.png".replace("/", "_"))
    page = tmp_path / "run.html"
    subprocess.run(command(network(tmp_path), data, tmp_path / "n.hai", "--report", page), check=True)
    text = page.read_text()
    parsed = Page(text)
    allowed = "html head meta style title body h1 h2 table tr td th svg polyline text figure img figcaption br small p"
    assert {tag for tag, _ in parsed.tags} <= set(allowed.split())
    images = [attrs["src"] or "" for tag, attrs in parsed.tags if tag == "img"]
    assert len(images) == 12 and all(src.startswith("data:image/bmp;base64,") for src in images)
    assert not any(name.startswith("on") for _, attrs in parsed.tags for name in attrs)
    assert "http" not in text.replace("http-equiv", "") and "\x1b" not in text
    assert "<img src=x onerror=alert(1)>" in parsed.text
    assert len([tag for tag, _ in parsed.tags if tag == "polyline"]) == 3  # loss by step and by epoch, top-1
    assert "default-src 'none'" in text
    log = tmp_path / "n.hai"
    said = run("train", tmp_path / "net.hai", "--data", data, "--out", log, "--report", log, code=1)
    assert "HAI-L065" in said
