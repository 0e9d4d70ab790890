#!/usr/bin/env bash
# Install what is missing, and nothing else: setup.sh [test|cluster|images]
#
# Debian packages (as root or with sudo), the Python environment, Kafka's jars,
# the viewer. Every step remembers the inputs it was done for, so a second run
# takes a moment. With "test", also what only the tests need; with "cluster", what
# the cluster test bed does; with "images", what runs images for their tests.
set -euo pipefail
cd "$(dirname "$0")/../.."

wanted=${1:-}
python=.venv/bin/python

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
has() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }

# ------------------------------------------------------------ Debian packages

java_17() {
    has java || return 1
    local version
    version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
    [ "${version:-0}" -ge 17 ]
}

static_busybox() {
    has busybox && ! LC_ALL=C ldd "$(command -v busybox)" >/dev/null 2>&1
}

missing_packages() {
    local interpreter
    interpreter=$(find_python) || true
    [ -n "$interpreter" ] && "$interpreter" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    has initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql
    has setpriv && has flock || echo util-linux
    has redis-server || echo redis-server
    has nginx || echo nginx
    java_17 || echo openjdk-17-jre-headless
    has mvn || echo maven
    [ -x /usr/bin/storescu ] || echo dcmtk
    has mariadb || has mysql || echo mariadb-client
    if [ "$wanted" = test ]; then
        has chromium || echo chromium
        has dciodvfy || echo dicom3tools
        has strace || echo strace
        has mkfs.xfs || echo xfsprogs
    fi
    if [ "$wanted" = images ]; then
        has ip || echo iproute2
        has runc || echo runc
    fi
    if [ "$wanted" = cluster ]; then
        has ip || echo iproute2
        has etcd || echo etcd-server
        has containerd || echo containerd
        has runc || echo runc
        [ -x /usr/lib/cni/bridge ] || echo containernetworking-plugins
        has nft || echo nftables
        has iptables || echo iptables
        has conntrack || echo conntrack
        static_busybox || echo busybox-static
    fi
}

find_python() {
    local one
    for one in python3 python3.13 python3.12 python3.11; do
        if has "$one" && "$one" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            command -v "$one"
            return
        fi
    done
    return 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    [ "${#packages[@]}" -gt 0 ] || return 0
    if ! has apt-get; then
        fail "these Debian packages, or what your system calls them, are missing: ${packages[*]}"
    fi
    if [ "$(id -u)" != 0 ] && ! has sudo; then
        fail "run as root: apt-get install ${packages[*]}"
    fi
    say "installing ${packages[*]}"
    # Debian starts what it installs, on the ports a user may need, and again at
    # the next boot. policy-rc.d forbids the first; what was not there before is
    # disabled against the second.
    local new=()
    for service in postgresql redis-server nginx containerd; do
        case " ${packages[*]} " in *" $service "*) new+=("$service") ;; esac
    done
    case " ${packages[*]} " in *" etcd-server "*) new+=(etcd) ;; esac
    as_root sh -c '
        policy=/usr/sbin/policy-rc.d
        kept=$policy.before-pacsless
        restore() { rm -f "$policy"; [ ! -e "$kept" ] || mv "$kept" "$policy"; }
        [ -e "$kept" ] || [ ! -e "$policy" ] || mv "$policy" "$kept"
        trap restore EXIT
        trap "exit 1" HUP INT TERM
        printf "#!/bin/sh\nexit 101\n" >"$policy"
        chmod 755 "$policy"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q </dev/null &&
        apt-get install -q -y --no-install-recommends "$@" </dev/null
    ' sh "${packages[@]}" >.setup.log 2>&1 || {
        tail -n 20 .setup.log >&2
        fail "apt-get failed; run it by hand: apt-get install ${packages[*]}"
    }
    rm -f .setup.log
    if [ "${#new[@]}" -gt 0 ] && has systemctl; then
        as_root systemctl disable "${new[@]}" >/dev/null 2>&1 || true
        say "Debian's own ${new[*]} will not start at boot"
    fi
    mapfile -t packages < <(missing_packages)
    [ "${#packages[@]}" -eq 0 ] || fail "still missing after apt-get: ${packages[*]}"
}

# --------------------------------------------------------- Python environment

# done_for STAMP FILE...: whether STAMP was written for these very files.
done_for() {
    local stamp=$1
    shift
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(cat "$@" | sha256sum)" ]
}

remember() {
    local stamp=$1
    shift
    cat "$@" | sha256sum >"$stamp"
}

install_python() {
    local stamp=.venv/.requirements place=.venv/.place
    # The scripts in it name its folder: after a move of the clone it is made anew.
    [ ! -f $place ] || [ "$(cat $place)" = "$PWD" ] || rm -rf .venv
    if [ ! -x $python ]; then
        say "making .venv"
        "$(find_python)" -m venv .venv
    fi
    done_for $stamp requirements/dev.txt && return
    say "installing the locked Python packages"
    $python -m pip install -q --disable-pip-version-check --no-input --require-hashes \
        -r requirements/dev.txt
    pwd >$place
    remember $stamp requirements/dev.txt
}

# --------------------------------------------------------------- Kafka's jars

install_kafka() {
    $python -c '
from pacsless.stack import kafka
from pacsless.stack.lifecycle import CACHE
kafka.jars(CACHE)'
}

install_keycloak() {
    [ "$wanted" = test ] || return 0
    $python -c '
from tests.keycloak import fetch
fetch()'
}

# ----------------------------------------------------------------------- Helm

install_helm() {
    [ "$wanted" = test ] || return 0
    $python -c '
from tests.chart.helm import helm, kinds
helm(3), helm(4), kinds()'
}

# --------------------------------------------------------------------- viewer

# vite needs Node.js 20.19; Debian 12 has 18, so the same program comes from PyPI.
node_is_new() {
    has node && has npm &&
        node -e 'const [a, b] = process.versions.node.split(".").map(Number);
                 process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'
}

install_viewer() {
    local stamp=viewer/node_modules/.installed
    if ! node_is_new; then
        if [ ! -x .venv/bin/npm ]; then
            say "installing Node.js into .venv"
            $python -m pip install -q --disable-pip-version-check --no-input --require-hashes \
                -r requirements/node.txt
        fi
        PATH="$PWD/.venv/bin:$PATH"
        export PATH
        node_is_new || fail "Node.js in .venv does not run: $(node --version 2>&1)"
    fi
    if ! done_for $stamp viewer/package-lock.json; then
        say "installing the viewer's packages"
        (cd viewer && npm ci --loglevel=error --no-progress --no-fund --no-audit </dev/null >/dev/null)
        remember $stamp viewer/package-lock.json
    fi
    (cd viewer && node build.mjs </dev/null) | { grep -v 'up to date' || true; }
}

# Two at a time would take each other's files away. What an ended one has left at work
# holds the lock, too.
mkdir -p .pacsless
exec 9>.pacsless/setup.lock
flock -n 9 || { say "another set-up of this clone is at work: waiting for it"; flock 9; }

install_packages
install_python
# Downloads of other kinds: together.
{ install_kafka && install_keycloak && install_helm; } & kafka=$!
install_viewer & viewer=$!
failed=0
wait $kafka || failed=1
wait $viewer || failed=1
[ $failed = 0 ] || fail "not everything could be installed; see above and run make setup again"
