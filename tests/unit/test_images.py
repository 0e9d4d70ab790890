"""How images are made: always of the same bytes, with what is wanted and nothing beside."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from images import archive, bill, elf, layers, sources, wheels
from images.layers import Component
from images.layout import CONSTANT_TIME, ImageError
from images.recipes import Recipe, recipes
from images.tree import Tree, matches, merged


def members(layer: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as opened:
        return {one.name: one for one in opened}


def test_a_layer_does_not_depend_on_the_order_or_on_who_makes_it() -> None:
    one, other = Tree(), Tree()
    one.file("app/b.py", b"b")
    one.link("app/a", "b.py")
    one.folder("data", owner=10001)
    other.folder("/data", owner=10001)
    other.link("app/a", "b.py")
    other.file("app/b.py", b"b")
    assert one.layer() == other.layer()
    found = members(one.layer())
    assert list(found) == ["app", "app/a", "app/b.py", "data"]
    assert (found["app/b.py"].uid, found["app/b.py"].uname) == (0, "")
    assert found["app/b.py"].mtime == CONSTANT_TIME
    assert (found["data"].uid, found["data"].gid) == (10001, 10001)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/bin/sh", "usr/bin/sh"),
        ("lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("usr/bin/env", "usr/bin/env"),
        ("bin", "bin"),
        ("library/x", "library/x"),
    ],
)
def test_old_folders_are_the_new_ones(path: str, wanted: str) -> None:
    assert merged(path) == wanted


@pytest.mark.parametrize(
    ("path", "pattern", "wanted"),
    [
        ("usr/share/man/man1/x", "usr/share/man", True),
        ("usr/share/manual", "usr/share/man", False),
        ("usr/lib/x86/gconv/a.so", "usr/lib/*/gconv", True),
        ("usr/lib/x86/deep/gconv/a.so", "usr/lib/*/gconv", False),
        ("usr/lib/x+y.so", "usr/lib/x+y.so", True),
        ("data/ec2/2016/a.json", "data/[!s]*/*", True),
        ("data/sqs/2012/a.json", "data/s[!3t]*/*", True),
        ("data/sts/2011/a.json", "data/s[!3t]*/*", False),
        ("data/s3/2006/a.json", "data/s3?*/*", False),
        ("data/s3control/2018/a.json", "data/s3?*/*", True),
        ("data/endpoints.json", "data/[!s]*/*", False),
        ("data/x", "data[!s]x", False),
        ("bin/[", "bin/[", True),
    ],
)
def test_patterns_stop_at_slashes(path: str, pattern: str, wanted: bool) -> None:
    assert matches(path, pattern) is wanted


def test_a_member_of_a_package_becomes_roots_and_can_make_nobody_root() -> None:
    tree, member = Tree(), tarfile.TarInfo("./bin/su")
    member.mode, member.uid, member.mtime = 0o4755, 1000, 7
    tree.archive(member, b"\x7fELF")
    found = members(tree.layer())["usr/bin/su"]
    assert (found.mode, found.uid, found.mtime) == (0o755, 0, 7)


def test_a_hard_link_is_a_copy() -> None:
    tree, link = Tree(), tarfile.TarInfo("./bin/b")
    tree.file("usr/bin/a", b"content")
    link.type, link.linkname = tarfile.LNKTYPE, "./bin/a"
    tree.archive(link, b"")
    assert dict(tree.files())["usr/bin/b"] == b"content"


def test_libraries_are_read_from_programs() -> None:
    shell = Path(shutil.which("sh") or "").resolve().read_bytes()
    assert "libc.so.6" in elf.needed(shell)
    assert elf.needed(b"#!/bin/sh\n") == []
    assert elf.needed(b"") == []


def test_a_missing_library_is_named_with_who_wants_it() -> None:
    elf.check("redis", {"libc.so.6": "usr/bin/a"}, ["libc.so.6"])
    with pytest.raises(ImageError, match=r"redis lacks libz\.so\.1 \(of /usr/bin/a\)"):
        elf.check("redis", {"libz.so.1": "usr/bin/a"}, ["libc.so.6"])


LOCK = """\
# comment
boto3==1.2 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via -r x
click==8.0.post1 \\
    --hash=sha256:cc
"""


def test_what_is_locked_and_what_all_have(tmp_path: Path) -> None:
    assert wheels.locked(LOCK) == {
        "boto3": "boto3==1.2 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb",
        "click": "click==8.0.post1 \\\n    --hash=sha256:cc",
    }
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text(LOCK)
    other.write_text(LOCK.replace("1.2", "1.3"))
    assert list(wheels.common([one, other])) == ["click"]


def test_every_line_of_the_real_locks_is_read() -> None:
    folder = Path(__file__).parents[2] / "requirements"
    for recipe in recipes().values():
        if recipe.requirements:
            text = (folder / recipe.requirements).read_text()
            assert len(wheels.locked(text)) == text.count("==")
            assert sum(one.count("--hash=") for one in wheels.locked(text).values()) == (
                text.count("--hash=")
            )


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="images have Python 3.11")
def test_modules_are_compiled_to_the_same_bytes() -> None:
    def compiled() -> Tree:
        tree = Tree()
        tree.file("app/a.py", b"NAMES = {'one', 'two', 'three'} if 1 else frozenset({'x', 'y'})\n")
        tree.file("app/wrong.py", b"def\n")
        wheels.compile_modules(tree)
        return tree

    one = compiled()
    assert one.digest() == compiled().digest()
    assert [path for path in one.entries if path.endswith(".pyc")] == [
        "app/__pycache__/a.cpython-311.pyc"
    ]
    # Unchecked: nobody compares it with the time of its source.
    assert one.entries["app/__pycache__/a.cpython-311.pyc"].content[4:8] == b"\x01\0\0\0"


def test_a_layer_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "LAYERS", tmp_path)
    made: list[str] = []

    def contents() -> layers.Contents:
        tree = Tree()
        tree.file("a", b"x")
        return tree, [Component("pkg:generic/a@1", "a", "1")]

    first = layers.made(["a"], contents, lambda: made.append("a"))
    assert layers.made(["a"], contents, lambda: made.append("again")) == first
    assert layers.made(["b"], contents, lambda: made.append("b")).digest == first.digest
    assert made == ["a", "b"]
    assert hashlib.sha256(first.file.read_bytes()).hexdigest() == first.digest
    first.file.unlink()
    layers.made(["a"], contents, lambda: made.append("lost"))
    assert made == ["a", "b", "lost"]


def test_an_archive_is_what_docker_loads(tmp_path: Path) -> None:
    tree = Tree()
    tree.file("a", b"x")
    layer = tmp_path / f"{tree.digest()}.tar"
    layer.write_bytes(tree.layer())
    recipe = Recipe(
        name="x", summary="", kind="shell", entry_point=("/a",), environment={"A": "b"}, ports=(1,)
    )
    files = [tmp_path / "one.tar", tmp_path / "two.tar"]
    for file in files:
        archive.write(file, "r/x:1", recipe, [layer], labels={"l": "m"}, created=86400)
    assert files[0].read_bytes() == files[1].read_bytes()
    with tarfile.open(files[0]) as opened:

        def member(name: str) -> bytes:
            found = opened.extractfile(name)
            assert found
            return found.read()

        (manifest,) = json.loads(member("manifest.json"))
        assert manifest["RepoTags"] == ["r/x:1"]
        config = json.loads(member(manifest["Config"]))
        assert (
            manifest["Config"] == f"{hashlib.sha256(member(manifest['Config'])).hexdigest()}.json"
        )
        digests = [hashlib.sha256(member(one)).hexdigest() for one in manifest["Layers"]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{one}" for one in digests]
    assert config["created"] == "1970-01-02T00:00:00Z"
    assert config["config"] == {
        "User": "10001:10001", "Entrypoint": ["/a"], "Env": ["A=b"], "WorkingDir": "/app",
        "ExposedPorts": {"1/tcp": {}}, "Labels": {"l": "m"},
    }  # fmt: skip


def test_the_bill_lists_each_component_once() -> None:
    part = Component("pkg:pypi/a@1", "a", "1", "MIT", "00")
    recipe = recipes()["redis"]
    text = bill.written(recipe, [part, Component("pkg:deb/debian/b@2", "b", "2"), part], 0)
    assert text == bill.written(recipe, [Component("pkg:deb/debian/b@2", "b", "2"), part], 0)
    document = json.loads(text)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    assert [one["purl"] for one in document["components"]] == ["pkg:deb/debian/b@2", "pkg:pypi/a@1"]
    assert document["components"][1]["licenses"] == [{"license": {"name": "MIT"}}]


def test_the_viewers_packages_are_known() -> None:
    assert any(one.purl.startswith("pkg:npm/%40") for one in bill.viewer())


def test_sources_are_code_and_declarations_only() -> None:
    tree = Tree()
    sources.put(tree, "functions/qido_rs", "app/functions/qido_rs", 5)
    sources.put(tree, "scp-gateway", "app/scp-gateway", 5)
    sources.put(tree, "functions/*/pyproject.toml", "app/declared", 5)
    assert "app/functions/qido_rs/main.py" in tree.entries
    assert "app/declared/qido_rs/pyproject.toml" in tree.entries
    assert not [path for path in tree.entries if not path.endswith((".py", ".toml"))]
    with pytest.raises(ImageError, match="there is no viewer/nothing"):
        sources.put(tree, "viewer/nothing", "x", 5)


def test_the_time_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "12345")
    assert sources.state().time == 12345
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ImageError, match="SOURCE_DATE_EPOCH"):
        sources.state()
