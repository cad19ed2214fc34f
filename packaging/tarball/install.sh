#!/bin/sh
# Installs Ferrite from its archive, after checking the archive's digest.
#
#     sh install.sh                                   the newest release, into /usr/local or ~/.local
#     sh install.sh --version 0.1.0 --prefix DIR
#     sh install.sh ferrite-0.1.0-x86_64-linux.tar.gz     a file, with FILE.sha256 beside it
#
# FERRITE_RELEASES names another place than GitHub to download from.
set -eu

releases=${FERRITE_RELEASES:-https://github.com/ferrite-wasm/ferrite-wasm/releases}
prefix=
version=
archive=

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --prefix | --version)
            [ $# -ge 2 ] || fail "$1 needs a value"
            if [ "$1" = --prefix ]; then prefix=$2; else version=$2; fi
            shift 2
            ;;
        -h | --help)
            sed -n 's/^# \{0,1\}//; 2,8p' "$0"
            exit 0
            ;;
        -*) fail "unknown option $1; there are --prefix DIR and --version VERSION" ;;
        *)
            archive=$1
            shift
            ;;
    esac
done

if [ -z "$prefix" ]; then
    if [ -w /usr/local/bin ]; then prefix=/usr/local; else prefix=$HOME/.local; fi
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

if [ -z "$archive" ]; then
    system=$(uname -s)-$(uname -m)
    case $system in
        Linux-x86_64) platform=x86_64-linux ;;
        Linux-aarch64) platform=aarch64-linux ;;
        *) fail "there is no archive for $system; build from source: cargo install --path cli" ;;
    esac
    command -v curl >/dev/null || fail "curl is needed to download; or download the archive and name it"
    if [ -z "$version" ]; then
        # The address of the newest release ends in its tag.
        version=$(curl -fsSLI -o /dev/null -w '%{url_effective}' "$releases/latest")
        version=${version##*/v}
    fi
    archive=$folder/ferrite-$version-$platform.tar.gz
    for file in "$archive" "$archive.sha256"; do
        curl -fsSL -o "$file" "$releases/download/v$version/${file##*/}" ||
            fail "cannot download ${file##*/} from $releases"
    done
fi

[ -f "$archive" ] || fail "there is no file $archive"
[ -f "$archive.sha256" ] || fail "there is no $archive.sha256, which has the archive's digest"
wanted=$(cut -d ' ' -f 1 "$archive.sha256")
if command -v sha256sum >/dev/null; then
    found=$(sha256sum "$archive" | cut -d ' ' -f 1)
else
    found=$(shasum -a 256 "$archive" | cut -d ' ' -f 1)
fi
[ "$wanted" = "$found" ] || fail "$archive is damaged or was changed: its SHA-256 is $found, not $wanted"

mkdir "$folder/files"
tar -xzf "$archive" -C "$folder/files" --strip-components 1
for part in bin lib share; do
    (cd "$folder/files" && find "$part" -type f) | while read -r file; do
        mkdir -p "$prefix/${file%/*}"
        # A program that runs is replaced, and not written to.
        rm -f "$prefix/$file"
        cp -p "$folder/files/$file" "$prefix/$file"
    done
done
printf 'installed into %s: ' "$prefix"
"$prefix/bin/ferrite-wasmc" --version
case :$PATH: in
    *":$prefix/bin:"*) ;;
    *) printf 'add %s/bin to your PATH\n' "$prefix" ;;
esac
