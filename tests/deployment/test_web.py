"""The page's folder: what is written and what is refused."""

import gzip
import hashlib
import io
import json
import re
import tarfile

import pytest

from dslite import paths
from dslite.deployment import runtime, web
from dslite.errors import InputError
from dslite.settings import Settings
from tests.deployment import browser

PAGE = paths.ROOT / "dslite" / "deployment" / "page"
FILES = {*web.SOURCES, "model.json", "model.tflite", "spectrogram.tflite", "litert"}


def told(part="model", identity="abc", task="classification", **changed):
    """What a file says of itself, see `dslite.deployment.runtime`."""
    settings = Settings(backbone="squeezenet", **changed)
    return {
        "dataset": "small",
        "run": "squeezenet-none-s0",
        "identity": identity,
        "part": part,
        "variant": "float32",
        "task": task,
        "classes": [] if task == "regression" else ["quiet", "loud"],
        "settings": settings.model_dump(),
        "weights": {"name": "random", "licence": "none: trained from random weights"},
        "version": "0.1.0",
    }


@pytest.fixture
def model(tmp_path):
    """Path of what a page takes for a model and its spectrogram, beside each other."""
    folder = tmp_path / "run"
    folder.mkdir()
    for part in ("model", "spectrogram"):
        (folder / f"{part}.tflite").write_bytes(runtime.attach(b"flatbuffer", told(part)))
    return folder / "model.tflite"


def tarball(*members, kind=tarfile.REGTYPE):
    """An archive as npm's registry hands it out: of pairs (name, content)."""
    held = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=held, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content)
            info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            archive.addfile(info, io.BytesIO(content))
    return held.getvalue()


def package(name, content, members):
    return web.Package(name, hashlib.sha512(content).hexdigest(), members)


INDEX = b'import { x } from "@litertjs/wasm-utils";\nx();\n//# sourceMappingURL=index.js.map'


@pytest.fixture
def registry(cache, monkeypatch):
    """Two small packages in LiteRT.js' place, in the cache as if they had been downloaded."""
    folder = cache / "litertjs" / web.VERSION
    folder.mkdir(parents=True)
    made = []
    for name, target, content in (
        ("core", "index.js", INDEX),
        ("wasm-utils", "wasm-utils.js", b"y();\n//# sourceMappingURL=index.js.map"),
    ):
        held = tarball(("package/dist/index.js", content), ("../../outside", b"x"))
        members = {"package/dist/index.js": (target, len(content))}
        made.append(package(name, held, members))
        (folder / made[-1].file).write_bytes(held)
    monkeypatch.setattr(web, "PACKAGES", tuple(made))
    monkeypatch.setenv("DSLITE_MIRROR", "http://127.0.0.1:9")  # nothing is asked for
    return folder


# What is written


def test_the_page_is_whole(model, registry, tmp_path):
    folder = web.write(model, tmp_path / "web")
    assert {entry.name for entry in folder.iterdir()} == FILES
    assert (folder / "model.tflite").read_bytes() == model.read_bytes()
    found = sorted(f.name for f in (folder / "litert").rglob("*"))
    assert found == ["LICENSE.txt", "NOTICE.txt", "index.js", "wasm-utils.js"]
    assert "Apache License" in (folder / "litert" / "LICENSE.txt").read_text()
    code = (folder / "litert" / "index.js").read_text()
    assert (
        code == '// Changed by dslite, see NOTICE.txt\nimport { x } from "./wasm-utils.js";\nx();\n'
    )
    assert sorted(f.name for f in PAGE.iterdir()) == sorted([*web.SOURCES, "Apache-2.0.txt"])
    assert sorted(f.name for f in tmp_path.iterdir()) == ["cache", "run", "web"]


def test_what_the_page_is_told(model, registry, tmp_path):
    changed = {"trim": "on", "chunk_length_s": 1.5, "sample_rate": 8000, "fusion": "vote"}
    model.write_bytes(runtime.attach(b"flatbuffer", told(**changed)))
    folder = web.write(model, tmp_path / "web")
    found = json.loads((folder / "model.json").read_text())
    assert (found["rate"], found["chunk"], found["hop"]) == (8000, 12000, 6000)
    assert found["trim"] == {"frame": 1024, "hop": 256, "db": 60}
    assert (found["classes"], found["fusion"]) == (["quiet", "loud"], "vote")
    assert web.described(runtime.metadata(model)) == found


def test_an_older_page_is_replaced(model, registry, tmp_path):
    folder = web.write(model, tmp_path / "web")
    (folder / "page.js").write_text("old")
    web.write(model, folder)
    assert (folder / "page.js").read_bytes() == (PAGE / "page.js").read_bytes()


def test_nothing_of_a_page_is_inline_or_elsewhere():
    page = (PAGE / "index.html").read_text("utf-8")
    assert re.findall(r"<script(.*?)>(.*?)</script>", page) == [
        (' type="module" src="page.js"', "")
    ]
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    allowed = {word for words in rules.values() for word in words.split()}
    assert allowed == {"'none'", "'self'", "'wasm-unsafe-eval'", "data:", "blob:"}
    assert page.index("Content-Security-Policy") < page.index("<link") < page.index("<script")
    for name in web.SOURCES:
        assert not re.search(r"(https?|wss?):|//[a-z0-9-]+\.", (PAGE / name).read_text("utf-8"))


# What is refused


def refused(call, *arguments):
    with pytest.raises(InputError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_with_something_else_is_left_alone(model, registry, tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "thesis.tex").write_text("years")
    assert "thesis.tex" in refused(web.write, model, tmp_path / "web")
    assert (tmp_path / "web" / "thesis.tex").read_text() == "years"
    assert "is a file" in refused(web.write, model, tmp_path / "web" / "thesis.tex")


def test_what_is_no_whole_model(model, registry, tmp_path):
    half = model.with_name("spectrogram.tflite")
    assert "is a part of a model (spectrogram)" in refused(web.write, half, tmp_path / "web")
    half.write_bytes(runtime.attach(b"flatbuffer", told("spectrogram", identity="def")))
    assert "another run" in refused(web.write, model, tmp_path / "web")
    half.unlink()
    assert "spectrogram.tflite: is missing" in refused(web.write, model, tmp_path / "web")
    model.write_bytes(b"flatbuffer")
    assert "says nothing of itself" in refused(web.write, model, tmp_path / "web")
    assert not (tmp_path / "web").exists()


def test_which_model_is_meant(model, tmp_path):
    assert web.find_model(model) == web.find_model(model.parent) == model
    model.unlink()
    assert "dslite convert" in refused(web.find_model, model.parent)
    assert "neither" in refused(web.find_model, tmp_path / "gone")


def test_the_command(command, model, registry, tmp_path):
    status, out, err = command("web", model.parent)
    assert (status, err) == (0, "")
    assert f"python -m http.server 8000 --bind 127.0.0.1 -d {model.parent / 'web'}" in out
    assert (model.parent / "web" / "index.html").is_file()
    assert command("web", model, tmp_path / "else where")[0] == 0
    assert (tmp_path / "else where" / "model.json").is_file()
    status, out, err = command("web", tmp_path / "gone")
    assert (status, out, err.count("error: ")) == (2, "", 1)


# Downloads


@pytest.fixture
def mirror(tmp_path, cache, monkeypatch):
    """A server of this test's own; gives its folder and what it was asked for."""
    monkeypatch.setenv("NO_PROXY", "*")
    folder = tmp_path / "mirror"
    folder.mkdir()
    with browser.serving(folder) as (address, asked):
        monkeypatch.setenv("DSLITE_MIRROR", address)
        yield folder, asked


def test_an_archive_is_downloaded_once(mirror, cache):
    folder, asked = mirror
    wanted = package("core", b"archive", {})
    (folder / wanted.file).write_bytes(b"archive")
    kept = web.fetch(wanted)
    assert kept == cache / "litertjs" / web.VERSION / "core-2.5.3.tgz"
    assert web.fetch(wanted).read_bytes() == b"archive"
    assert asked == ["/core-2.5.3.tgz"]
    kept.write_bytes(b"damaged")
    assert web.fetch(wanted).read_bytes() == b"archive"


def test_another_file_than_the_published_one(mirror, cache):
    folder, _ = mirror
    wanted = package("core", b"archive", {})
    (folder / wanted.file).write_bytes(b"something else")
    said = refused(web.fetch, wanted)
    assert "not the published file" in said
    assert str(cache / "litertjs" / "2.5.3" / "core-2.5.3.tgz") in said
    assert not list((cache / "litertjs" / "2.5.3").iterdir())


def test_no_such_file_and_no_connection(mirror, cache, monkeypatch):
    wanted = package("core", b"archive", {})
    assert "404" in refused(web.fetch, wanted)
    monkeypatch.setenv("DSLITE_MIRROR", "http://127.0.0.1:9")
    assert "cannot be downloaded" in refused(web.fetch, wanted)


def test_where_the_packages_come_from(monkeypatch):
    monkeypatch.delenv("DSLITE_MIRROR", raising=False)
    assert [one.url for one in web.PACKAGES] == [
        "https://registry.npmjs.org/@litertjs/core/-/core-2.5.3.tgz",
        "https://registry.npmjs.org/@litertjs/wasm-utils/-/wasm-utils-2.5.3.tgz",
    ]


MEMBERS = {"package/a.js": ("a.js", 4)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tarball(("package/a.js", b"12345")), "not a file of 4 bytes"),
        (tarball(("package/a.js", b""), kind=tarfile.SYMTYPE), "not a file of 4 bytes"),
        (tarball(("package/a.js", b""), kind=tarfile.LNKTYPE), "not a file of 4 bytes"),
        (tarball(("package/b.js", b"1234")), "'package/a.js' not found"),
        (tarball(("package/a.js", b"1234"))[:40], "not a sound archive"),
        (b"<html>", "not a sound archive"),
    ],
    ids=["size", "symbolic-link", "hard-link", "missing", "cut", "no-archive"],
)
def test_an_archive_that_is_not_what_it_should_be(tmp_path, content, said):
    (tmp_path / "a.tgz").write_bytes(content)
    wanted = package("a", content, MEMBERS)
    assert said in refused(web.unpack, tmp_path / "a.tgz", wanted, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_else_leaves_an_archive(tmp_path):
    content = tarball(("package/a.js", b"1234"), ("../b.js", b"1"), ("/tmp/c.js", b"1"))
    (tmp_path / "a.tgz").write_bytes(content)
    web.unpack(tmp_path / "a.tgz", package("a", content, MEMBERS), tmp_path / "out")
    assert [f.name for f in tmp_path.rglob("*.js")] == ["a.js"]
