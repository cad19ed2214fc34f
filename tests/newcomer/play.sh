#!/usr/bin/env bash
# Plays a newcomer: clones the last commit into an empty folder and does what README says, with no variable
# set. Ends with the times and the size of it all, or at the first step that goes wrong.
#
#   tests/newcomer/play.sh [--tests] [FOLDER]         with the programs of this system, and its Rust
#   tests/newcomer/play.sh --bare [--tests] FOLDER    in a Debian of its own that has Rust, git and a C compiler, and
#                                                     nothing else, as a user without rights. Needs root, mmdebstrap
#                                                     and overlayfs
#
# FOLDER is made, and removed unless it was named. Takes some ten minutes on two cores, so no test run calls it. With
# --tests, README's second command is run, too: every check and every test, which takes much longer.
set -euo pipefail
bare=
tests=
while :; do
  case ${1:-} in
  --bare) bare=yes ;;
  --tests) tests=yes ;;
  -*) echo "unknown option $1; there are --bare and --tests" >&2; exit 2 ;;
  *) break ;;
  esac
  shift
done
root=$(cd "$(dirname "$0")/../.." && pwd)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
rustup_home=${RUSTUP_HOME:-$HOME/.rustup}

# The Debian: this system's release, its certificates and its resolver. Rust's folders are this system's, and what is
# written into them stays in FOLDER.
if [ -n "$bare" ]; then
  mkdir -p "${1:?name a folder}"
  folder=$(cd "$1" && pwd)
  debian=$folder/debian
  release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  [ -d "$debian/usr" ] || mmdebstrap --quiet --variant=minbase --include=ca-certificates,gcc,git,libc6-dev \
    "$release" "$debian"
  mkdir -p "$debian/rust/cargo" "$debian/rust/rustup" "$debian/play" \
    "$folder/cargo/new" "$folder/cargo/work" "$folder/rustup/new" "$folder/rustup/work"
  cp /etc/resolv.conf "$debian/etc/resolv.conf"
  cp /etc/ssl/certs/ca-certificates.crt "$debian/etc/ssl/certs/ca-certificates.crt"
  rm -rf "$debian/play/here" "$debian/play/repository"
  git clone --quiet --bare "file://$root" "$debian/play/repository"
  mkdir -p "$debian/play/repository/tests/newcomer"
  cp "$0" "$debian/play/repository/tests/newcomer/play.sh"
  chown -R 1000:1000 "$debian/play"
  export folder debian cargo_home rustup_home tests
  # shellcheck disable=SC2016
  exec unshare --mount --pid --fork bash -euc '
    mount -t proc proc "$debian/proc"
    mount --rbind /dev "$debian/dev"
    for part in cargo rustup; do
      home=${part}_home
      # With "metacopy", files that only get another owner are not copied.
      mount -t overlay overlay "$debian/rust/$part" \
        -o "lowerdir=${!home},upperdir=$folder/$part/new,workdir=$folder/$part/work,metacopy=on"
      chown -R 1000:1000 "$debian/rust/$part"
    done
    exec env -i CARGO_HOME=/rust/cargo RUSTUP_HOME=/rust/rustup HOME=/play TMPDIR=/tmp PATH="/usr/sbin:/usr/bin:/sbin:/bin" \
      chroot --userspec=1000:1000 "$debian" bash /play/repository/tests/newcomer/play.sh ${tests:+--tests} /play/here'
fi

if [ $# -gt 0 ]; then
  mkdir -p "$1"
  folder=$(cd "$1" && pwd)
else
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
fi

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
# Runs a command as the newcomer: nothing of this environment but where Rust is. With `how=exec`, in the place of
# this shell, so that a signal to it reaches the command.
alone() {
  ${how:-} env -i HOME="$folder/home" TERM=dumb LANG=C.UTF-8 \
    CARGO_HOME="$cargo_home" RUSTUP_HOME="$rustup_home" \
    PATH="$folder/ferrite/target/bin/demo:$cargo_home/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
}
# Expects that a command prints a text.
expect() {
  local text=$1 output
  shift
  output=$("$@" 2>&1) || true
  printf '$ %s\n%s\n' "${*#alone}" "$output"
  case $output in *"$text"*) ;; *) fail "no \`$text\` in the reply" ;; esac
}

mkdir -p "$folder/home"
step "Clone"
git clone --quiet "file://$root" "$folder/ferrite"
cd "$folder/ferrite"

step "cargo xtask demo"
alone cargo xtask demo --exit | tee "$folder/demo.log"
demo=$SECONDS
grep -q '^(integer) 1' "$folder/demo.log" || fail "the demo shows no reply of a function"

step "Versions"
commit=$(git -C "$folder/ferrite" rev-parse --short=12 HEAD)
expect "$commit" alone ferrite-wasmc --version
expect "$commit" alone ferrite-server --version

step "A project of one's own"
rustc=$folder/ferrite/target/guest-rust/bin/rustc
mkdir -p "$folder/own" && cd "$folder/own"
expect "limits" alone ferrite-wasmc new limits --lang rust
cd limits
as_told=()
[ ! -x "$rustc" ] || as_told=("FERRITE_WASM_RUSTC=$rustc")
expect "2 passed, 0 failed" alone env "${as_told[@]}" ferrite-wasmc test
expect "(integer) 1" alone env "${as_told[@]}" ferrite-wasmc run . --key api:1 --arg 100 --arg 60

step "A server, and the function on it"
how="exec" alone ferrite-server --port 0 >"$folder/server.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; [ -n "${1:-}" ] || rm -rf "$folder"' EXIT
until grep -q '^ready ' "$folder/server.log"; do
  kill -0 "$server" 2>/dev/null || fail "the server did not start: $(cat "$folder/server.log")"
  sleep 0.1
done
port=$(sed -n 's/^ready .*resp=[^ ]*:\([0-9]*\).*/\1/p' "$folder/server.log")
expect "where it is new" alone env "${as_told[@]}" ferrite-wasmc deploy --server "redis://127.0.0.1:$port"
if command -v redis-cli >/dev/null; then
  expect "1" redis-cli -p "$port" WASM.CALL limits.rate_limit KEYS api:1 ARGS 100 60
fi

step "Mistakes"
expect "error" alone ferrite-wasmc run nothing.wasm
expect "error" alone ferrite-wasmc deploy --server "http://127.0.0.1:$port"
expect "did you mean" alone ferrite-server --prot 1
kill "$server"
wait "$server" || fail "the server ended with $?"

report() { printf '%s: %d min %d s\n' "$1" $(($2 / 60)) $(($2 % 60)); }
everything=$SECONDS
if [ -n "$tests" ]; then
  step "cargo xtask test"
  cd "$folder/ferrite"
  alone cargo xtask test 2>&1 | tee "$folder/test.log"
  grep -Eq 'Summary .* [1-9][0-9]* passed' "$folder/test.log" || fail "no test has passed"
fi

printf '\n'
report "cargo xtask demo" "$demo"
report "with all that follows it" "$everything"
[ -z "$tests" ] || report "cargo xtask test" $((SECONDS - everything))
printf '%s on disk\n' "$(du -sh "$folder/ferrite" | cut -f 1)"
