"""Debian packages are pinned to their bytes: the mirror, the cache and the network are not trusted."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolchain import debian, seal
from toolchain.paths import REPOSITORY


class Mirror:
    """A Debian mirror of one package on 127.0.0.1, with an index signed by a key of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "mirror"
        self.pool = "pool/main/h/hello"
        (self.folder / self.pool).mkdir(parents=True)
        handler = functools.partial(_QuietHandler, directory=str(self.folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def add(self, version: str) -> debian.Pin:
        """Put hello in this version on the mirror; its pin."""
        tree = self.folder.parent / f"hello-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr/share").mkdir(parents=True)
        (tree / "usr/share/hello").write_text(f"hello {version}\n")
        control = f"Package: hello\nVersion: {version}\nArchitecture: armhf\nMaintainer: nobody\nDescription: test\n"
        (tree / "DEBIAN/control").write_text(control)
        deb = self.folder / self.pool / f"hello_{version}_armhf.deb"
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, deb], check=True, capture_output=True)
        content = deb.read_bytes()
        self.control = control
        self.pin = debian.Pin(
            suite="trixie",
            package="hello",
            arch="armhf",
            deb="hello",
            version=version,
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            pool_path=f"{self.pool}/{deb.name}",
        )
        return self.pin

    def file(self, pin: debian.Pin) -> Path:
        return self.folder / pin.pool_path

    def publish(self, keyring: Path) -> None:
        """Write and sign the index of what was added last."""
        pin = self.pin
        packages = f"{self.control}Filename: {pin.pool_path}\nSize: {pin.size_bytes}\nSHA256: {pin.sha256}\n\n"
        suite = self.folder / "dists/trixie"
        index = suite / "main/binary-armhf/Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text(packages)
        digest = hashlib.sha256(packages.encode()).hexdigest()
        release = (
            "Origin: Test\nSuite: trixie\nCodename: trixie\nDate: Mon, 01 Jan 2024 00:00:00 UTC\n"
            f"Architectures: armhf\nComponents: main\nSHA256:\n {digest} {len(packages)} main/binary-armhf/Packages\n"
        )
        home = self.folder.parent / "gpg"
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--batch", "--quiet", "--homedir", str(home), "--passphrase", ""]
        subprocess.run([*gpg, "--quick-generate-key", "test", "rsa2048", "sign", "never"], check=True)
        exported = subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout
        keyring.write_bytes(exported)
        signed = subprocess.run([*gpg, "--clearsign"], input=release.encode(), check=True, capture_output=True)
        (suite / "InRelease").write_bytes(signed.stdout)
        kill_agent = ["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"]
        subprocess.run(kill_agent, check=True)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A mirror of its own, and a cache and a lock of its own."""
    monkeypatch.setattr(debian, "FOLDER", tmp_path / "cache")
    monkeypatch.setattr(debian, "LOCK", tmp_path / "lock.json")
    monkeypatch.setattr(debian, "KEYRING", tmp_path / "keyring.gpg")
    monkeypatch.delenv("DEBIAN_PINS", raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    served = Mirror(tmp_path)
    monkeypatch.setenv("DEBIAN_MIRROR", served.url)
    yield served
    served.close()


def unpacked(package: str, arch: str) -> Path:
    (folder,) = debian.ensure([(package, arch)])
    return folder


def pin(*pins: debian.Pin) -> None:
    debian._write(debian.LOCK, {"pins": [vars(each) for each in pins]})


def test_every_pin_has_a_sha256_and_a_place_in_the_pool() -> None:
    pins = debian.committed_pins()
    assert pins
    for each in pins:
        assert re.fullmatch(r"[0-9a-f]{64}", each.sha256), each.name
        assert each.pool_path.startswith("pool/"), each.name
        assert each.size_bytes > 0, each.name
    assert len({each.name for each in pins}) == len(pins)


def test_every_pin_is_used() -> None:
    sources = [path for folder in ("device", "toolchain") for path in (REPOSITORY / folder).rglob("*.py")]
    text = "\n".join(path.read_text() for path in sources if path.is_file())
    unused = [each.name for each in debian.committed_pins() if each.package not in text]
    assert not unused


def test_the_lock_names_no_host() -> None:
    assert "://" not in debian.LOCK.read_text()


def test_a_pinned_package_is_fetched_unpacked_and_then_needs_no_mirror(mirror: Mirror) -> None:
    pin(mirror.add("1.0"))
    folder = unpacked("hello", "armhf")
    assert (folder / "usr/share/hello").read_text() == "hello 1.0\n"
    mirror.file(mirror.pin).unlink()
    assert unpacked("hello", "armhf") == folder


def test_a_deb_that_was_tampered_with_on_the_mirror_is_refused(mirror: Mirror) -> None:
    pinned = mirror.add("1.0")
    pin(pinned)
    mirror.file(pinned).write_bytes(mirror.file(pinned).read_bytes() + b"x")
    with pytest.raises(debian.DebianError):
        unpacked("hello", "armhf")
    assert not list((debian.FOLDER / "unpacked").glob("*"))


def test_a_deb_that_was_tampered_with_in_the_cache_is_noticed_and_fetched_again(
    mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = mirror.add("1.0")
    pin(pinned)
    shutil.rmtree(unpacked("hello", "armhf"))
    archive = debian.FOLDER / "archives" / f"{pinned.sha256}.deb"
    archive.write_bytes(archive.read_bytes() + b"x")
    folder = unpacked("hello", "armhf")
    assert "sha256 differs" in capsys.readouterr().err
    assert (folder / "usr/share/hello").read_text() == "hello 1.0\n"
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == pinned.sha256


def change_a_byte(folder: Path) -> None:
    (folder / "usr/share/hello").write_text("hellO 1.0\n")


def add_a_file(folder: Path) -> None:
    (folder / "usr/share/more").touch()


def remove_a_file(folder: Path) -> None:
    (folder / "usr/share/hello").unlink()


def put_a_link_in_place_of_a_file(folder: Path) -> None:
    (folder / "usr/share/hello").rename(folder.parent / "elsewhere")
    (folder / "usr/share/hello").symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    "tamper", [change_a_byte, add_a_file, remove_a_file, put_a_link_in_place_of_a_file], ids=lambda how: how.__name__
)
def test_an_unpacked_package_that_was_tampered_with_is_noticed_and_unpacked_anew(
    mirror: Mirror,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tamper: Callable[[Path], None],
) -> None:
    pin(mirror.add("1.0"))
    folder = unpacked("hello", "armhf")
    mirror.file(mirror.pin).unlink()  # the archive is still in the cache
    tamper(folder)
    monkeypatch.setattr(seal, "_intact", set())  # as in another process
    assert unpacked("hello", "armhf") == folder
    assert capsys.readouterr().err.count("is not as it was made (usr/share/") == 1
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    assert sorted(files) == [folder / seal.NAME, folder / "usr/share/hello"]
    assert not (folder / "usr/share/hello").is_symlink()
    assert (folder / "usr/share/hello").read_text() == "hello 1.0\n"
    assert unpacked("hello", "armhf") == folder
    assert capsys.readouterr().err == ""


def test_a_mirror_that_cannot_be_reached_is_one_line_that_names_the_variable(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(mirror.add("1.0"))
    debian.KEYRING.touch()
    monkeypatch.setenv("DEBIAN_MIRROR", "http://127.0.0.1:1/")
    with pytest.raises(debian.DebianError) as caught:
        unpacked("hello", "armhf")
    message = str(caught.value)
    assert "\n" not in message
    assert "http://127.0.0.1:1/" in message
    assert "DEBIAN_MIRROR=" in message


def test_a_package_that_is_not_pinned_is_refused_with_the_command_that_pins_it(mirror: Mirror) -> None:
    pin(mirror.add("1.0"))
    with pytest.raises(debian.DebianError, match=r"--update-lock trixie/nothing:armhf"):
        unpacked("nothing", "armhf")


def test_a_package_pinned_from_two_suites_must_be_asked_for_by_suite(mirror: Mirror) -> None:
    pinned = mirror.add("1.0")
    pin(pinned, debian.Pin(**(vars(pinned) | {"suite": "bullseye"})))
    with pytest.raises(debian.DebianError, match="several suites"):
        unpacked("hello", "armhf")
    (folder,) = debian.ensure([("hello", "armhf", "bullseye")])
    assert folder.is_dir()


needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="signing a test index needs gnupg")


@needs_gpg
def test_a_pin_that_is_gone_is_replaced_by_what_the_signed_index_offers_and_stays_so(
    mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = mirror.add("1.0")
    pin(gone)
    mirror.file(gone).unlink()
    offered = mirror.add("1.1")
    mirror.publish(debian.KEYRING)
    folder = unpacked("hello", "armhf")
    assert (folder / "usr/share/hello").read_text() == "hello 1.1\n"
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert "1.0" in warning
    assert "1.1" in warning
    assert "--update-lock" in warning
    assert json.loads(debian.LOCK.read_text())["pins"][0]["version"] == "1.0"
    assert debian.pin_in_force("hello", "armhf") == offered
    mirror.file(offered).unlink()
    assert unpacked("hello", "armhf") == folder


@needs_gpg
def test_strict_pins_turn_a_replacement_into_an_error(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = mirror.add("1.0")
    pin(gone)
    mirror.file(gone).unlink()
    mirror.add("1.1")
    mirror.publish(debian.KEYRING)
    monkeypatch.setenv("DEBIAN_PINS", "strict")
    with pytest.raises(debian.DebianError, match="DEBIAN_PINS=strict"):
        unpacked("hello", "armhf")


@needs_gpg
def test_an_index_that_does_not_match_its_signature_replaces_nothing(mirror: Mirror) -> None:
    gone = mirror.add("1.0")
    pin(gone)
    mirror.file(gone).unlink()
    mirror.add("1.1")
    mirror.publish(debian.KEYRING)
    index = mirror.folder / "dists/trixie/main/binary-armhf/Packages"
    index.write_text(index.read_text().replace("Description: test", "Description: evil"))
    with pytest.raises(debian.DebianError, match="cannot read trixie"):
        unpacked("hello", "armhf")


@needs_gpg
def test_an_index_signed_by_another_key_replaces_nothing(mirror: Mirror) -> None:
    gone = mirror.add("1.0")
    pin(gone)
    mirror.file(gone).unlink()
    mirror.add("1.1")
    mirror.publish(debian.KEYRING)
    shutil.copyfile("/usr/share/keyrings/debian-archive-keyring.gpg", debian.KEYRING)
    with pytest.raises(debian.DebianError, match="cannot read trixie"):
        unpacked("hello", "armhf")


@needs_gpg
def test_updating_the_lock_pins_what_the_mirror_offers(mirror: Mirror) -> None:
    pin(mirror.add("1.0"))
    offered = mirror.add("1.1")
    mirror.publish(debian.KEYRING)
    assert debian.update_lock() == ["trixie/hello:armhf 1.0 -> 1.1"]
    assert debian.committed_pins() == (offered,)


def test_apt_sources_of_every_style_name_their_mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = tmp_path / "mirrors.list"
    listing.write_text("# mirrors\nhttp://one.invalid/debian\thigh\nhttp://two.invalid/debian/\n")
    rows = [
        "Packages|main|trixie|http://vendor.invalid/debian/",
        f"Packages|main|trixie|mirror+file:{listing}/",
        f"Packages|main|trixie-updates|mirror+file:{listing}/",
        "Packages|main|trixie-security|http://security.invalid/",
        "Packages|contrib|trixie|http://three.invalid/debian/",
    ]
    monkeypatch.delenv("DEBIAN_MIRROR", raising=False)
    monkeypatch.setattr(debian, "_run", lambda _command: "\n".join(rows))
    assert debian._mirrors() == [
        "http://one.invalid/debian/",
        "http://two.invalid/debian/",
        "http://vendor.invalid/debian/",
    ]
