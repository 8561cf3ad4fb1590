#!/usr/bin/env bash
# Builds the image of the harness's containers from Debian's packages: a redis-server, the libraries it needs, and
# libfaketime. Reaches no registry of images, and installs nothing. Takes a moment when the image is there; with
# `--force` it is built anew.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

image=redlatch-live-redis:latest # harness/src/live/node/containers.rs knows it by this name

if [ "${1:-}" != --force ] && docker image inspect "$image" >/dev/null 2>&1; then exit 0; fi
if ! docker info >/dev/null 2>&1; then
    say "live-image: no Docker engine answers; run: just setup"
    exit 1
fi
if ! has apt-get || ! has dpkg-deb; then
    say "live-image: builds from Debian's packages, and this is no Debian; take an image instead: docker pull redis:8"
    exit 1
fi

# libraries PACKAGE…: the libraries that they depend on, one step deep
libraries() {
    apt-cache show --no-all-versions "$@" |
        sed -n 's/^\(Pre-\)\{0,1\}Depends: //p' | tr ',' '\n' | sed 's/^ *//; s/[ :|(].*//' | { grep '^lib' || true; } | sort -u
}

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
# apt's own user has to be able to write here.
chmod 755 "$place"
mkdir "$place/root"
packages="redis-tools libfaketime"
# A machine that was just made has no lists yet.
# shellcheck disable=SC2086 # a list of words
if ! apt-cache show $packages >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then apt-get -qq update; else sudo -n apt-get -qq update; fi
fi
# shellcheck disable=SC2046,SC2086 # lists of words
while more=$(printf '%s\n' $packages $(libraries $packages) | sort -u) && [ "$more" != "$packages" ]; do packages=$more; done
# shellcheck disable=SC2086 # a list of words
(cd "$place" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download $packages >/dev/null)
for deb in "$place"/*.deb; do dpkg-deb -x "$deb" "$place/root"; done

cd "$place/root"
rm -rf usr/share etc var
# Debian's libraries lie below /usr, and their loader is known by a name at the top.
for folder in bin lib lib32 lib64 libx32 sbin; do
    if [ -d "$folder" ] && [ ! -L "$folder" ]; then
        mkdir -p "usr/$folder"
        cp -a "$folder/." "usr/$folder/"
        rm -rf "$folder"
    fi
    if [ -d "usr/$folder" ] && [ ! -e "$folder" ]; then ln -s "usr/$folder" "$folder"; fi
done
# The server and its checkers are one program, which looks at the name it was called by.
ln -sf redis-check-rdb usr/bin/redis-server
mkdir -p etc tmp
chmod 1777 tmp
faketime=$(find usr/lib -name libfaketime.so.1 | head -n 1)
libc=$(find usr/lib -name libc.so.6 | head -n 1)
preload="/$faketime:/$libc"

tar -c . | docker import -c "LABEL redlatch.preload=$preload" -c 'CMD ["redis-server"]' \
    -c 'ENV PATH=/usr/bin' - "$image" >/dev/null
say "live-image: $image, with $(docker run --rm --entrypoint redis-server "$image" --version)"
