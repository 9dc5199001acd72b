#!/bin/sh
# Installs the Debian packages of debian-packages.txt that are missing, and says which and why before it does.
set -eu
list="$(dirname "$0")/debian-packages.txt"

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "setup: this is no Debian; install what $list names, by your system's own names for it" >&2
  exit 0
fi
machine="$(dpkg --print-architecture)"

installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=""
while read -r package where why; do
  case "$package" in "" | "#"*) continue ;; esac
  [ "$where" = "!$machine" ] && continue
  installed "$package" && continue
  [ -n "$missing" ] || echo "setup: these Debian packages are missing and will be installed:"
  printf '  %-24s %s\n' "$package" "$why"
  missing="$missing $package"
done <"$list"

if ! "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null; then
  [ -n "$missing" ] || echo "setup: these Debian packages are missing and will be installed:"
  printf '  %-24s %s\n' python3-venv "makes the Python environment"
  missing="$missing python3-venv"
fi
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "setup: neither root nor sudo; as root, run: apt-get install$missing" >&2
    exit 1
  }
  as_root="sudo"
fi
# A test starts the program by itself, on loopback: this machine is not to be reachable because it was installed.
units=/etc/systemd/system
case " $missing " in *" openssh-server "*)
  for unit in ssh.service ssh.socket; do
    if [ -d "$units" ] && [ ! -L "$units/$unit" ] && [ ! -e "$units/$unit" ]; then
      $as_root ln -s /dev/null "$units/$unit"
    fi
  done
  echo "setup: the service of openssh-server stays off (\`systemctl unmask ssh.service ssh.socket\` allows it)"
  ;;
esac
log="build/setup/apt.log"
mkdir -p build/setup
# The package names are words of the list above, meant to be split.
# shellcheck disable=SC2086
if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
  tail -n 15 "$log" >&2
  echo "setup: apt-get failed (all of its output: $log); look at the machine's apt sources and network" >&2
  exit 1
fi
echo "setup: Debian packages installed (log: $log)"
