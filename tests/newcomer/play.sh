#!/usr/bin/env bash
# Plays a newcomer: clones the last commit into an empty folder and does what README says, with no variable
# set and only the programs of a bare Debian with Rust. Ends with the times and the size of it all, or at
# the first step that goes wrong.
#
#   tests/newcomer/play.sh [FOLDER]      FOLDER is made, and removed unless it was named
#
# Takes some ten minutes on two cores, so no test run calls it.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ $# -gt 0 ]; then
  mkdir -p "$1"
  folder=$(cd "$1" && pwd)
else
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
fi

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
# Runs a command as the newcomer: nothing of this environment but where Rust is.
alone() {
  env -i HOME="$folder/home" TERM=dumb LANG=C.UTF-8 \
    CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" \
    PATH="$folder/ferrite/target/bin/demo:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
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
alone ferrite-server --port 0 >"$folder/server.log" 2>&1 &
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

printf '\ncargo xtask demo: %d min %d s; everything: %d min %d s; %s on disk\n' \
  $((demo / 60)) $((demo % 60)) $((SECONDS / 60)) $((SECONDS % 60)) "$(du -sh "$folder/ferrite" | cut -f 1)"
