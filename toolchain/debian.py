"""Debian packages, pinned by sha256 and unpacked below build/: no root, nothing of the system's is touched.

`ensure([("adbd", "armhf")])` is all most callers need. What is pinned, and from which suite, stands in
`debian.lock.json`; the mirror is the one this machine's own apt uses, or the URL in $DEBIAN_MIRROR.

A pinned file needs no index: it is fetched by its path on the mirror and must have the pinned sha256.
Only when the mirror no longer has it (a point release replaced it) is the suite's index read, by a
private apt that accepts nothing Debian's archive keyring has not signed; the replacement is noted in a
local lock and stays fixed from then on. $DEBIAN_PINS=strict turns replacements into an error.

What lies unpacked is checked file by file before it is used (toolchain/seal.py), and unpacked anew if need be.

`python -m toolchain.debian` fetches and unpacks every pin.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from toolchain import seal
from toolchain.errors import ToolchainError
from toolchain.files import file_sha256, replacing
from toolchain.paths import BUILD

DEFAULT_SUITE = "trixie"
FOLDER = BUILD / "debian"
LOCK = Path(__file__).with_name("debian.lock.json")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT_HELPER = Path("/usr/lib/apt/apt-helper")


class DebianError(ToolchainError):
    """A Debian package cannot be had: no mirror, no such package, or bytes that are not the pinned ones."""


@dataclass(frozen=True)
class Pin:
    """One package, down to its bytes.

    `package` is the name it is asked by, `deb` the package that carries it: they differ for a kernel,
    where "linux-image-arm64" stands for the newest "linux-image-<version>-arm64".
    `pool_path` is where the file lies on any mirror.
    """

    suite: str
    package: str
    arch: str
    deb: str
    version: str
    sha256: str
    size_bytes: int
    pool_path: str

    @property
    def name(self) -> str:
        return f"{self.suite}/{self.package}:{self.arch}"


# --- what callers use ---------------------------------------------------------------------------------


def ensure(packages: Iterable[tuple[str, str] | tuple[str, str, str]]) -> list[Path]:
    """The folders in which pinned packages, (package, arch) or (package, arch, suite), lie unpacked.

    They are fetched and checked first where need be, in one download. The suite ("bullseye") is needed only where a
    package is pinned from several. Raises DebianError when a package is not pinned, or cannot be had.
    """
    wanted = [_pinned(*package) for package in packages]
    pins = [_in_force(pin) for pin in wanted]
    if not all(seal.intact(_folder(pin)) for pin in pins):
        with _alone():
            pins = _provide(wanted)
    return [_folder(pin) for pin in pins]


def committed_pins() -> tuple[Pin, ...]:
    """The pins of `debian.lock.json`."""
    return _read_pins(LOCK)


def pin_in_force(package: str, arch: str, suite: str | None = None) -> Pin:
    """The pin that `ensure` uses: the committed one, or what has replaced it on this machine."""
    return _in_force(_pinned(package, arch, suite))


# --- pins ---------------------------------------------------------------------------------------------


def _read_pins(path: Path) -> tuple[Pin, ...]:
    try:
        return tuple(Pin(**pin) for pin in json.loads(path.read_text())["pins"])
    except FileNotFoundError:
        raise DebianError(f"{path} is missing; `python -m toolchain.debian --update-lock` writes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DebianError(f"{path} is not a lock of Debian packages ({error})") from None


def _pinned(package: str, arch: str, suite: str | None = None) -> Pin:
    found = [
        pin for pin in committed_pins() if (pin.package, pin.arch) == (package, arch) and suite in (None, pin.suite)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        suites = ", ".join(pin.suite for pin in found)
        raise DebianError(f"{package}:{arch} is pinned from several suites ({suites}): name one")
    name = f"{suite or DEFAULT_SUITE}/{package}:{arch}"
    raise DebianError(f"{name} is not pinned; `python -m toolchain.debian --update-lock {name}` pins it")


def _local_lock() -> Path:
    """Replacements made on this machine: committed sha256 -> pin."""
    return FOLDER / "replaced.json"


def _replacements() -> dict[str, Pin]:
    try:
        return {sha256: Pin(**pin) for sha256, pin in json.loads(_local_lock().read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _strict() -> bool:
    return os.environ.get("DEBIAN_PINS") == "strict"


def _in_force(pin: Pin) -> Pin:
    return pin if _strict() else _replacements().get(pin.sha256, pin)


def _replaced(pin: Pin, offered: Pin) -> Pin:
    if _strict():
        raise DebianError(
            f"the mirror no longer has {pin.name} {pin.version} but {offered.version}, and DEBIAN_PINS=strict; "
            "`python -m toolchain.debian --update-lock` pins what it has"
        )
    noted = _replacements() | {pin.sha256: offered}
    _write(_local_lock(), {sha256: asdict(replacement) for sha256, replacement in noted.items()})
    print(
        f"debian: {pin.name} {pin.version} is gone from the mirror, {offered.version} (signed) takes its place; "
        "`python -m toolchain.debian --update-lock` refreshes the committed lock",
        file=sys.stderr,
    )
    return offered


# --- files --------------------------------------------------------------------------------------------


def _folder(pin: Pin) -> Path:
    return FOLDER / "unpacked" / f"{pin.deb}_{pin.arch}_{pin.sha256[:16]}"


def _archive(pin: Pin) -> Path:
    return FOLDER / "archives" / f"{pin.sha256}.deb"


def _provide(wanted: list[Pin]) -> list[Pin]:
    """Have every wanted pin, or what replaces it, unpacked; the pins that are."""
    pins = [_in_force(pin) for pin in wanted]
    missing = [pin for pin in pins if not seal.intact(_folder(pin)) and not _archive_is_sound(pin)]
    if missing:
        mirrors = _mirrors()
        failed = _download(missing, mirrors)
        if failed:
            offered = {pin: _replaced_by_index(pin, mirrors) for pin in failed}
            still_failed = _download(list(offered.values()), mirrors)
            if still_failed:
                names = ", ".join(f"{pin.deb}:{pin.arch} {pin.version}" for pin in still_failed)
                raise DebianError(f"the Debian mirror lists {names} but does not have it; {_OTHER_MIRROR}")
            committed = dict(zip(pins, wanted, strict=True))
            for pin, offer in offered.items():
                if offer.sha256 != pin.sha256:
                    _replaced(committed[pin], offer)
            pins = [offered.get(pin, pin) for pin in pins]
    for pin in pins:
        if not seal.intact(_folder(pin)):
            _unpack(pin)
    return pins


def _archive_is_sound(pin: Pin) -> bool:
    archive = _archive(pin)
    if not archive.exists():
        return False
    if file_sha256(archive) == pin.sha256:
        return True
    print(f"debian: {archive} is not what was fetched (sha256 differs): fetching it again", file=sys.stderr)
    archive.unlink()
    return False


def _unpack(pin: Pin) -> None:
    """`dpkg-deb -x` into place in one step; the archive's sha256 is checked here, whoever put it there."""
    if file_sha256(_archive(pin)) != pin.sha256:
        raise DebianError(f"{_archive(pin)} is not {pin.name} {pin.version}: its sha256 differs; remove it")
    with replacing(_folder(pin)) as workspace:
        new = workspace / "new"
        _run(["dpkg-deb", "-x", str(_archive(pin)), str(new)])
        seal.seal(new)


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    scratch.replace(path)


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time works on the cache. Indexes it reads (100 MB each, unpacked) go again at the end."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            _indexes.clear()
            shutil.rmtree(FOLDER / "apt", ignore_errors=True)


# --- the mirror, by apt's own means -------------------------------------------------------------------

_OTHER_MIRROR = "try again later, or name another mirror: DEBIAN_MIRROR=<URL of a Debian mirror>"


def _mirrors() -> list[str]:
    """URLs of Debian mirrors, each ending in "/": $DEBIAN_MIRROR, or those of this machine's apt sources.

    Works from the sources alone, without an `apt-get update`. Several, because a third party's repository
    can look like Debian's: pins and signatures tell them apart, so each is tried in turn.
    """
    named = os.environ.get("DEBIAN_MIRROR")
    if named:
        return [named.rstrip("/") + "/"]
    columns = "$(CREATED_BY)|$(COMPONENT)|$(RELEASE)|$(REPO_URI)"
    listed = _run(["apt-get", "indextargets", "--no-release-info", "--format", columns])
    rows = [line.split("|") for line in listed.splitlines()]
    main = [(release, uri) for kind, component, release, uri in rows if (kind, component) == ("Packages", "main")]
    updated = {uri for release, uri in main if release.endswith("-updates")}
    plain = [uri for release, uri in main if re.fullmatch(r"[a-z]+", release)]
    first_likely = sorted(dict.fromkeys(plain), key=lambda uri: uri not in updated)
    found = [url for uri in first_likely for url in _urls(uri)]
    if not found:
        raise DebianError(
            "no Debian mirror in this machine's apt sources; name one: DEBIAN_MIRROR=<URL of a Debian mirror>"
        )
    return found


def _urls(uri: str) -> list[str]:
    """A source's URI as plain URLs: Debian's cloud images name a file with a list of mirrors."""
    if not uri.startswith("mirror+file:"):
        return [uri.rstrip("/") + "/"]
    listing = Path("/" + uri.removeprefix("mirror+file:").strip("/"))
    if not listing.is_file():
        return []
    lines = [line.split("#")[0].split() for line in listing.read_text().splitlines()]
    return [words[0].rstrip("/") + "/" for words in lines if words]


def _download(pins: list[Pin], mirrors: list[str]) -> list[Pin]:
    """Fetch the archives of `pins`; those that no mirror has. Raises DebianError when no mirror answers."""
    archives = FOLDER / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    left = list(dict.fromkeys(pins))
    for mirror in mirrors:
        with tempfile.TemporaryDirectory(dir=archives, prefix=".fetching-") as scratch:
            arguments = [
                argument
                for pin in left
                for argument in (mirror + pin.pool_path, f"{scratch}/{pin.sha256}", f"SHA256:{pin.sha256}")
            ]
            apt = _private_apt(Path(scratch) / "apt", sources="")
            helper = [str(APT_HELPER), "-q", "download-file", *arguments]
            subprocess.run(helper, env=apt, capture_output=True, check=False)
            for pin in left:
                file = Path(scratch, pin.sha256)
                if file.is_file() and file_sha256(file) == pin.sha256:
                    file.replace(_archive(pin))
        left = [pin for pin in left if not _archive(pin).exists()]
        if not left:
            break
    return left


def _replaced_by_index(pin: Pin, mirrors: list[str]) -> Pin:
    """What the signed index of the pin's suite offers under the pin's name today."""
    reasons = []
    for mirror in mirrors:
        try:
            return _offered(pin.suite, pin.package, pin.arch, mirror)
        except DebianError as error:
            reasons.append(str(error))
    raise DebianError(reasons[0])


def _offered(suite: str, package: str, arch: str, mirror: str) -> Pin:
    """The newest version of a package in a suite, by the suite's signed index. Raises DebianError."""
    apt = _index(suite, arch, mirror)
    fields = _show(apt, package)
    if fields is None:
        raise DebianError(f"{suite} has no package {package} for {arch}; see `python -m toolchain.debian --help`")
    deb = package
    if package.startswith("linux-image-") and not package.removeprefix("linux-image-")[0].isdigit():
        deb = next(word for word in re.split(r"[,\s]+", fields["Depends"]) if word.startswith("linux-image-"))
        fields = _show(apt, deb) or {}
    return Pin(
        suite=suite,
        package=package,
        arch=arch,
        deb=deb,
        version=fields["Version"],
        sha256=fields["SHA256"],
        size_bytes=int(fields["Size"]),
        pool_path=fields["Filename"],
    )


def _show(apt: dict[str, str], package: str) -> dict[str, str] | None:
    command = ["apt-cache", "show", "--no-all-versions", package]
    shown = subprocess.run(command, env=apt, capture_output=True, text=True, check=False)
    fields = re.findall(r"^([A-Za-z0-9-]+): (.*)$", shown.stdout, re.MULTILINE)
    return dict(fields) or None


_indexes: dict[tuple[str, str, str], dict[str, str]] = {}


def _index(suite: str, arch: str, mirror: str) -> dict[str, str]:
    """The environment of an apt that knows this suite for this architecture and no other; read once.

    One index each, so that a mirror with one index out of step still serves the others.
    """
    key = (suite, arch, mirror)
    if key in _indexes:
        return _indexes[key]
    if not KEYRING.exists():
        raise DebianError(f"{KEYRING} is missing; install the package debian-archive-keyring (`make setup` does)")
    apt = _private_apt(
        FOLDER / "apt" / f"{suite}-{arch}",
        f"deb [arch={arch} signed-by={KEYRING}] {mirror} {suite} main\n",
        arch,
    )
    command = ["apt-get", "-q", "update", "--error-on=any"]
    updated = subprocess.run(command, env=apt, capture_output=True, text=True, check=False)
    if updated.returncode != 0:
        why = _first_error(updated.stderr)
        raise DebianError(f"cannot read {suite} ({arch}) from the Debian mirror: {why}; {_OTHER_MIRROR}")
    _indexes[key] = apt
    return apt


def _first_error(stderr: str) -> str:
    errors = [line.removeprefix("E: ") for line in stderr.splitlines() if line.startswith("E: ")]
    return errors[0] if errors else "apt-get update failed"


def _private_apt(folder: Path, sources: str, arch: str = "amd64") -> dict[str, str]:
    """Write an apt configuration that keeps to `folder`; the environment in which apt uses it.

    How to reach the network (proxies, timeouts, credentials) is taken from the machine's configuration.
    """
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(sources)
    dump = _run(["apt-config", "dump"]).splitlines()
    reach = [line for line in dump if line.startswith("Acquire") and "IndexTargets" not in line]
    nothing = [
        f'Dir::Etc::{name} "/dev/null";'
        for name in (
            "main",
            "parts",
            "sourceparts",
            "preferences",
            "preferencesparts",
            "trusted",
            "trustedparts",
        )
    ]
    own = [
        f'Dir::Etc::sourcelist "{folder}/sources.list";',
        f'Dir::State "{folder}";',
        f'Dir::State::lists "{folder}/lists";',
        f'Dir::State::status "{folder}/status";',
        f'Dir::Cache "{folder}";',
        f'APT::Architecture "{arch}";',
        f'APT::Architectures {{ "{arch}"; }};',
        'APT::Sandbox::User "root";',  # the sandbox user could not write here; bytes are checked by hash
        'Acquire::Languages "none";',
    ]
    configuration = folder / "apt.conf"
    fewer_retries = 'Acquire::Retries "1";'  # unless the machine says otherwise: apt's three take 7 s to fail
    configuration.write_text("\n".join([fewer_retries, *reach, *nothing, *own]) + "\n")
    return os.environ | {"APT_CONFIG": str(configuration), "LC_ALL": "C.UTF-8"}


def _run(command: list[str]) -> str:
    """Run a tool of Debian's own; its stdout. Raises DebianError with its first complaint."""
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise DebianError(f"{command[0]} is missing: this needs a Debian machine (apt and dpkg)") from None
    except subprocess.CalledProcessError as error:
        complaint = (error.stderr.strip() or f"exit status {error.returncode}").splitlines()[0]
        raise DebianError(f"{command[0]} failed: {complaint}") from None


# --- the command --------------------------------------------------------------------------------------


def update_lock(added: Iterable[str] = ()) -> list[str]:
    """Pin what the mirror offers now for every pin and every added "suite/package:arch"; what changed.

    Nothing is written unless every package could be had.
    """
    old = {pin.name: pin for pin in (committed_pins() if LOCK.exists() else ())}
    mirrors = _mirrors()
    new = []
    with _alone():
        for name in dict.fromkeys([*old, *added]):
            parts = re.fullmatch(r"([a-z-]+)/([a-z0-9.+-]+):([a-z0-9]+)", name)
            if not parts:
                raise DebianError(f"'{name}' is not of the form suite/package:arch, such as trixie/adbd:armhf")
            suite, package, arch = parts.groups()
            wanted = Pin(suite, package, arch, package, "", "", 0, "")
            new.append(_replaced_by_index(wanted, mirrors))
    new.sort(key=lambda pin: (pin.arch, pin.package, pin.suite))
    _write(LOCK, {"pins": [asdict(pin) for pin in new]})
    return [
        f"{pin.name} {old[pin.name].version if pin.name in old else '(new)'} -> {pin.version}"
        for pin in new
        if old.get(pin.name) != pin
    ]


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--update-lock", "updates", is_flag=True, help="Pin what the mirror offers today.")
@click.argument("packages", nargs=-1, metavar="[SUITE/PACKAGE:ARCH]...")
def main(updates: bool, packages: tuple[str, ...]) -> None:
    """With packages, which --update-lock must precede, these are pinned, too. Ends with 3 when one cannot be had."""
    if packages and not updates:
        raise click.UsageError("packages are named with --update-lock only")
    try:
        pinned = ((pin.package, pin.arch, pin.suite) for pin in committed_pins())
        lines = update_lock(packages) or ["nothing has changed"] if updates else map(str, ensure(pinned))
        click.echo("\n".join(lines))
    except DebianError as error:
        click.echo(f"debian: {error}", err=True)
        sys.exit(3)


if __name__ == "__main__":
    main()
