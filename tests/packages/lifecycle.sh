#!/bin/bash
# Installs, starts, upgrades, removes and purges the packages, in a copy of this system that is thrown away.
#
#     unshare --mount bash tests/packages/lifecycle.sh FOLDER HEALTHY
#
# FOLDER has the packages, HEALTHY is the health check of the containers. Needs root. The copy is an overlay of the running system, in the process's own
# mount namespace, so that nothing outside it changes.
set -euo pipefail

packages=$(cd "$1" && pwd)
healthy=$2
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT
mount -t tmpfs none "$work"
mkdir "$work/upper" "$work/work" "$work/root"
root=$work/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs none "$root/run"
mkdir -p "$root/packages"
mount --bind "$packages" "$root/packages"

step() { printf '== %s\n' "$1"; }
fail() {
    printf 'FAILED: %s\n' "$1"
    exit 1
}
inside() { chroot "$root" "$@"; }
# The command's output has to be this.
expect() {
    local wanted=$1 found
    shift
    found=$("$@") || fail "$*"
    [ "$found" = "$wanted" ] || fail "$*: expected '$wanted', found '$found'"
}

# Starts the service's own command line as the service's user, on a free port.
start() {
    local command
    command=$(sed -n 's/^ExecStart=//p' "$root/lib/systemd/system/ferrite-server.service")
    rm -f "$root/run/out"
    # Not by `inside`, which would put a shell between, and the signal would end that.
    # shellcheck disable=SC2086
    chroot "$root" setpriv --reuid=ferrite --regid=ferrite --init-groups --no-new-privs \
        $command --port 0 >"$root/run/out" 2>"$root/run/log" &
    server=$!
    until grep -q '^ready resp=' "$root/run/out"; do
        kill -0 "$server" 2>/dev/null || fail "the server ended: $(cat "$root/run/log")"
        read -r -t 0.1 <> <(:) || true
    done
    port=$(sed -n 's/^ready resp=127.0.0.1:\([0-9]*\).*/\1/p' "$root/run/out")
}
stop() {
    kill -TERM "$server"
    wait "$server" || fail "the server did not stop well: $(cat "$root/run/log")"
    server=
}
# Sends one command, and prints the first line of the reply after its sign.
ask() {
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf '%s\r\n' "$1" >&3
    local line
    IFS= read -r line <&3
    line=${line%$'\r'}
    case $line in '$'*) IFS= read -r line <&3 && line=${line%$'\r'} ;; *) line=${line:1} ;; esac
    exec 3>&-
    printf '%s\n' "$line"
}

server_deb=$(cd "$packages" && echo ferrite-server_*.deb)
wasmc_deb=$(cd "$packages" && echo ferrite-wasmc_*.deb)
valkey_deb=$(cd "$packages" && echo ferrite-valkey_*.deb)
! inside getent passwd ferrite >/dev/null || inside userdel ferrite

step install
inside dpkg --install "/packages/$server_deb" "/packages/$wasmc_deb" "/packages/$valkey_deb"
expect "ferrite:ferrite 750" inside stat -c '%U:%G %a' /var/lib/ferrite
expect "ferrite:ferrite 750" inside stat -c '%U:%G %a' /var/log/ferrite
expect "root:ferrite 640" inside stat -c '%U:%G %a' /etc/ferrite/ferrite.toml
expect /usr/sbin/nologin sh -c "chroot '$root' getent passwd ferrite | cut -d : -f 7"
inside ferrite-wasmc --version | grep -q 'wasmtime [0-9]' || fail "ferrite-wasmc names no engine"
for file in /usr/share/man/man8/ferrite-server.8.gz /usr/share/man/man1/ferrite-wasmc-run.1.gz \
    /usr/share/bash-completion/completions/ferrite-wasmc /usr/lib/ferrite/libferrite_valkey.so \
    /usr/share/doc/ferrite-server/configuration.md; do
    [ -f "$root$file" ] || fail "there is no $file"
done
if command -v systemd-analyze >/dev/null; then
    step "the unit"
    # A warning would be about something that this unit asks for and does not get.
    expect "" sh -c "chroot '$root' systemd-analyze verify --man=no /lib/systemd/system/ferrite-server.service 2>&1"
    # Of 100 points of exposure, in which less is better.
    inside systemd-analyze security --offline=true --threshold=25 \
        /lib/systemd/system/ferrite-server.service | tail -n 1
fi

step "start, store, and compile a function"
start
expect OK ask "SET greeting hello"
ask 'WASM.DEFINE add1 "(module (func (export \"run\") (param i64) (result i64) local.get 0 i64.const 1 i64.add))"' \
    | grep -q '^blake3:' || fail "the server does not compile with the packaged ferrite-wasmc"
expect 42 ask "WASM.CALL add1 ARGS 41"
bash "$healthy" "$port" || fail "the health check of the container fails"
stop
expect ferrite inside stat -c %U /var/lib/ferrite/data

step "upgrade, with a changed configuration"
echo '# a change of the operator' >>"$root/etc/ferrite/ferrite.toml"
inside dpkg-deb --raw-extract "/packages/$server_deb" /run/next
sed -i 's/^Version: .*/Version: 9999.0.0-1/' "$root/run/next/DEBIAN/control"
echo '# a new default' >>"$root/run/next/etc/ferrite/ferrite.toml"
inside dpkg-deb -Znone --build /run/next /run/next.deb >/dev/null
inside dpkg --force-confold --install /run/next.deb
grep -q 'a change of the operator' "$root/etc/ferrite/ferrite.toml" || fail "the operator's change is lost"
expect "root:ferrite 640" inside stat -c '%U:%G %a' /etc/ferrite/ferrite.toml
start
expect hello ask "GET greeting"
expect 42 ask "WASM.CALL add1 ARGS 41"
stop

step remove
inside dpkg --remove ferrite-server
[ ! -e "$root/usr/bin/ferrite-server" ] || fail "the program is still there"
[ -d "$root/var/lib/ferrite/data" ] || fail "removing took the data"
[ -f "$root/etc/ferrite/ferrite.toml" ] || fail "removing took the configuration"

step purge
inside dpkg --purge ferrite-server
for path in /var/lib/ferrite /var/log/ferrite /etc/ferrite; do
    [ ! -e "$root$path" ] || fail "$path is still there"
done
! inside getent passwd ferrite >/dev/null || fail "the user is still there"
inside dpkg --purge ferrite-wasmc ferrite-valkey
printf '== all of it works\n'
