"""The page of a diagnosis: whole, readable, and asking for nothing."""

import dataclasses
import re
import shutil
import subprocess

import numpy as np
import pytest

import networks
from keras_cnnfix import diagnose

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module", params=["grid", "clean", "classifier"])
def page(request, tmp_path_factory):
    images = None
    if request.param == "grid":
        model = networks.filled(networks.pix2pix(64))
    elif request.param == "clean":
        model = networks.style_decoder()
    else:
        model = networks.filled(networks.classifier())
        images = np.random.default_rng(0).random((16, 28, 28, 1)).astype("float32")
    path = tmp_path_factory.mktemp("page") / "page.html"
    diagnosis = diagnose(model, images)
    diagnosis.to_html(path)
    return path, diagnosis


def test_it_says_what_the_diagnosis_says(page):
    path, diagnosis = page
    text = path.read_text(encoding="utf-8")
    assert diagnosis.verdict.split(":")[0] in text
    for finding in diagnosis.findings:
        assert finding.layer in text
        assert finding.severity in text
    assert text.count('<div class="finding ') == len(diagnosis.findings)
    assert ("<img" in text) is ("answers" in diagnosis.evidence or "shifts" in diagnosis.evidence)


def test_it_holds_everything_and_no_script(page):
    text = page[0].read_text(encoding="utf-8")
    addresses = re.findall(r'(?:src|href)="([^"]{0,30})', text)
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert "<script" not in text
    assert "url(" not in text


def test_names_are_text_and_not_markup(tmp_path):
    diagnosis = diagnose(networks.classifier())
    dataclasses.replace(diagnosis, model="<b>model & co").to_html(tmp_path / "page.html")
    assert "<b>model" not in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)")
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_it_without_errors_and_nothing_overflows(page, width, tmp_path):
    probe = (
        "<script>document.documentElement.dataset.overflow ="
        " document.documentElement.scrollWidth > innerWidth;"
        " document.documentElement.dataset.broken ="
        " [...document.images].filter(i => !i.naturalWidth).length</script></body>"
    )
    # A headless window is at least 500 pixels wide: a frame is as wide as it is made.
    inner = tmp_path / "inner.html"
    inner.write_text(page[0].read_text(encoding="utf-8").replace("</body>", probe))
    outer = tmp_path / "outer.html"
    outer.write_text(
        f'<iframe id="f" src="inner.html" width="{width}" height="800" style="border:0"></iframe>'
        "<script>f.onload = () => Object.assign(document.body.dataset,"
        " f.contentDocument.documentElement.dataset,"
        " {width: f.contentWindow.innerWidth})</script>"
    )
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=5000",
        "--dump-dom",
        outer.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "CONSOLE" not in done.stderr
    assert f'data-width="{width}"' in done.stdout
    assert 'data-overflow="false"' in done.stdout
    assert 'data-broken="0"' in done.stdout
