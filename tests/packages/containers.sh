#!/bin/bash
# Builds the container files and runs their images: health check, password, a compiled function, the volume.
#
#     unshare --mount bash tests/packages/containers.sh REPOSITORY PROGRAMS VALKEY KEEP
#
# No registry is asked. The images that the files begin from are stood in for by a Debian of the same release
# from its own mirror, and in the one that builds, `cargo` copies the built files of the folder PROGRAMS, which
# must be built by then. VALKEY is a server's binary. KEEP is a folder for what the next run can use. Needs root,
# buildah, podman, mmdebstrap.
set -euo pipefail

repository=$(cd "$1" && pwd)
programs=$(cd "$2" && pwd)
valkey=$3
mkdir -p "$4"
keep=$(cd "$4" && pwd)
work=$(mktemp -d)
# In memory, and gone with this mount namespace.
mount -t tmpfs none "$work"
containers=(--root "$work/images" --runroot "$work/run")
# The limits that a container starts with, as far as root may not raise them here.
limits=(--cgroups disabled --ulimit nofile=4096:8192 --ulimit nproc=4096:4096)
# As packaging/container/compose.yaml runs them, and cut off from the network.
closed=(--network none --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges)

cleanup() {
    podman "${containers[@]}" rm --all --force >/dev/null 2>&1 || true
}
trap cleanup EXIT
# crun knows either generation of control groups, and not both at once.
umount -l /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup

step() { printf '== %s\n' "$1"; }
fail() {
    printf 'FAILED: %s\n' "$1"
    exit 1
}
expect() {
    local wanted=$1 found
    shift
    found=$("$@" 2>&1) || fail "$*: $found"
    [ "$found" = "$wanted" ] || fail "$*: expected '$wanted', found '$found'"
}
# Begins a container and prints its name. Warnings about networks, which are not used here, are left out.
begun() {
    buildah "${containers[@]}" from "$@" 2>"$work/log" || fail "$(cat "$work/log")"
}
quietly() {
    "$@" >"$work/log" 2>&1 || fail "$*: $(cat "$work/log")"
}

step "stand-ins for the images of the registry"
system=$keep/bookworm.tar
if [ ! -f "$system" ]; then
    # Without lists and documentation, as in the image that it stands for.
    # shellcheck disable=SC2016
    mmdebstrap --variant=minbase --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists/*' \
        bookworm "$system.new.tar" http://deb.debian.org/debian >"$work/log" 2>&1 || {
        printf 'skipped: there is no Debian to begin from: %s\n' "$(tail -n 3 "$work/log")"
        exit 0
    }
    mv "$system.new.tar" "$system"
fi
readonly DEBIAN=docker.io/library/debian:bookworm-slim
container=$(begun scratch)
quietly buildah "${containers[@]}" add --quiet "$container" "$system" /
quietly buildah "${containers[@]}" commit --quiet --rm "$container" "$DEBIAN"
# Makes the image $1 of the Debian, as the function $2 changes it.
stand_in() {
    local container root
    container=$(begun --pull-never "$DEBIAN")
    root=$(buildah "${containers[@]}" mount "$container")
    "$2" "$root" "$container"
    quietly buildah "${containers[@]}" umount "$container"
    quietly buildah "${containers[@]}" commit --quiet --rm "$container" "$1"
}
with_rust() {
    mkdir "$1/built"
    cp "$programs"/{ferrite-server,ferrite-wasmc,libferrite_valkey.so} "$1/built/"
    cat >"$1/usr/bin/cargo" <<'CARGO'
#!/bin/sh
# Stands in for `cargo build --release --locked -p PACKAGE`.
set -eu
[ "$1 $2 $3 $4" = "build --release --locked -p" ] && [ $# = 5 ] || { echo "cargo $* is not known here" >&2; exit 1; }
grep -q "^name = \"$5\"" */Cargo.toml || { echo "no package $5" >&2; exit 1; }
mkdir -p target/release
case $5 in
    ferrite-valkey) cp /built/libferrite_valkey.so target/release/ ;;
    *) cp "/built/$5" target/release/ ;;
esac
CARGO
    chmod +x "$1/usr/bin/cargo"
}
with_valkey() {
    cp "$valkey" "$1/usr/bin/valkey-server"
    chroot "$1" groupadd --system --gid 999 valkey
    chroot "$1" useradd --system --gid valkey --uid 999 valkey
    install -d -o 999 -g 999 "$1/data"
    # The one of the image changes its user where it is root, which the file rules out.
    printf '#!/bin/sh\nexec "$@"\n' >"$1/usr/bin/docker-entrypoint.sh"
    chmod +x "$1/usr/bin/docker-entrypoint.sh"
    quietly buildah "${containers[@]}" config --entrypoint '["docker-entrypoint.sh"]' --workingdir /data "$2"
}
stand_in docker.io/library/rust:1.95-slim-bookworm with_rust
stand_in docker.io/valkey/valkey:9.1 with_valkey

# Builds one container file.
build() {
    quietly buildah "${containers[@]}" build --format docker --isolation chroot --network host --pull-never \
        --file "$repository/packaging/container/Dockerfile.$1" --tag "ferrite-$1" "$repository"
}
# Starts an image with these options, and waits until its own health check says that it is well.
start() {
    local image=$1
    shift
    quietly podman "${containers[@]}" run --detach --name "$image" "${limits[@]}" "${closed[@]}" "$@" "localhost/$image"
    for _ in $(seq 100); do
        if podman "${containers[@]}" healthcheck run "$image" >/dev/null 2>&1; then return; fi
        [ "$(podman "${containers[@]}" inspect --format '{{.State.Running}}' "$image")" = true ] || break
        sleep 0.1
    done
    fail "$image does not come up: $(podman "${containers[@]}" logs "$image" 2>&1)"
}
stop() {
    quietly podman "${containers[@]}" stop --time 20 "$1"
    expect 0 podman "${containers[@]}" inspect --format '{{.State.ExitCode}}' "$1"
    quietly podman "${containers[@]}" rm "$1"
}
# Sends lines to a container's port $2, from inside it, and prints the last line of the replies.
ask() {
    local image=$1 port=$2
    shift 2
    # shellcheck disable=SC2016
    podman "${containers[@]}" exec "$image" bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$1"
        shift
        for line in "$@"; do
            printf "%s\r\n" "$line" >&3
            IFS= read -r -t 30 reply <&3
            case $reply in "\$"*) IFS= read -r reply <&3 ;; esac
        done
        printf "%s\n" "$reply"' - "$port" "$@" | tr -d '\r'
}
readonly ADD='WASM.DEFINE add1 "(module (func (export \"run\") (param i64) (result i64) local.get 0 i64.const 1 i64.add))"'

step "the server's image"
build server
expect 6380 podman "${containers[@]}" inspect --type image --format '{{.Config.User}}' ferrite-server
expect "map[/var/lib/ferrite:{}]" podman "${containers[@]}" inspect --type image --format '{{.Config.Volumes}}' ferrite-server
said=$(podman "${containers[@]}" run --rm "${limits[@]}" "${closed[@]}" localhost/ferrite-server 2>&1) &&
    fail "it serves everyone without a password: $said"
case $said in *password*) ;; *) fail "it does not ask for a password: $said" ;; esac
start ferrite-server --volume server:/var/lib/ferrite --env FERRITE_SERVER_PASSWORD=secret
expect "-NOAUTH Authentication required." ask ferrite-server 6380 "GET greeting"
expect "+OK" ask ferrite-server 6380 "AUTH secret" "SET greeting hello"
# The server compiles it by ferrite-wasmc, which shuts itself in once more, inside the container.
ask ferrite-server 6380 "AUTH secret" "$ADD" | grep -q '^blake3:' || fail "nothing is compiled in the container"
expect ":42" ask ferrite-server 6380 "AUTH secret" "WASM.CALL add1 ARGS 41"
stop ferrite-server
start ferrite-server --volume server:/var/lib/ferrite --env FERRITE_SERVER_PASSWORD=secret
expect hello ask ferrite-server 6380 "AUTH secret" "GET greeting"
expect ":42" ask ferrite-server 6380 "AUTH secret" "WASM.CALL add1 ARGS 41"
stop ferrite-server

step "the image of Valkey with the module"
build valkey
expect valkey podman "${containers[@]}" inspect --type image --format '{{.Config.User}}' ferrite-valkey
start ferrite-valkey --volume valkey:/data
ask ferrite-valkey 6379 "$ADD" | grep -q '^blake3:' || fail "nothing is compiled in the container"
expect ":42" ask ferrite-valkey 6379 "WASM.CALL add1 ARGS 41"
expect "+OK" ask ferrite-valkey 6379 "SET greeting hello"
stop ferrite-valkey
start ferrite-valkey --volume valkey:/data
expect hello ask ferrite-valkey 6379 "GET greeting"
expect ":42" ask ferrite-valkey 6379 "WASM.CALL add1 ARGS 41"
stop ferrite-valkey
printf '== all of it works\n'
