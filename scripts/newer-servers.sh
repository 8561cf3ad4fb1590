#!/usr/bin/env bash
# Puts a Redis that knows DELEX and a Valkey that knows DELIFEQ below target/servers, for the tests of the plain dialect.
# Nothing is installed: the packages of Debian's next release are unpacked there, with the libraries they need, and run
# by a wrapper. Exits 0 only when both are there and new enough; takes a moment when they already were.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

# Other suites, places and versions: compat.sh.
servers=${SERVERS_PLACE:-$root/target/servers}
suites=${SERVERS_SUITES:-sid experimental}
redis_min=${SERVERS_REDIS:-8.4}   # the first with DELEX and SET … IFEQ
valkey_min=${SERVERS_VALKEY:-9.0} # the first with DELIFEQ; SET … IFEQ came with 8.1
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

version_of() { "$servers/$1/$1-server" --version 2>/dev/null | sed -n 's/.* v=\([0-9.]*\).*/\1/p'; }

is_there() { # is_there NAME MIN
    local version
    version=$(version_of "$1")
    [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$2" "$version" | sort -V | head -n 1)" = "$2" ]
}

missing() {
    is_there redis "$redis_min" || echo redis
    is_there valkey "$valkey_min" || echo valkey
}

# The mirror that this machine uses already, so that none is named here.
mirror() {
    # shellcheck disable=SC1091,SC2016 # every Debian has the file; apt replaces its own $(…)
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
        "Codename: $(. /etc/os-release && echo "${VERSION_CODENAME:-}")" 2>/dev/null | head -n 1
}

# An apt of its own, with other sources, lists and cache: the system's is neither asked nor changed.
write_apt_config() { # write_apt_config MIRROR
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    : >"$apt/status"
    local suite
    for suite in $suites; do echo "deb [signed-by=$keyring] $1 $suite main"; done >"$apt/sources.list"
    cat >"$apt/apt.conf" <<EOF
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State::Lists "$apt/lists";
Dir::State::Status "$apt/status";
Dir::Cache "$apt";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::GzipIndexes "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
EOF
}

# libraries PACKAGE…: the libraries that they depend on, one step deep
libraries() {
    [ $# -gt 0 ] || return 0
    apt-cache -c "$apt/apt.conf" show --no-all-versions "$@" |
        sed -n 's/^\(Pre-\)\{0,1\}Depends: //p' | tr ',' '\n' | sed 's/^ *//; s/[ :|(].*//' | { grep '^lib' || true; } | sort -u
}

unpack() { # unpack NAME
    local name=$1 version package found more place loader libc
    version=$(apt-cache -c "$apt/apt.conf" madison "$name-tools" | cut -d '|' -f 2 | tr -d ' ' | sort -V | tail -n 1)
    package=$name-tools=$version
    found=$(libraries "$package")
    # shellcheck disable=SC2046,SC2086 # lists of words
    while more=$(printf '%s\n' $found $(libraries $found) | sort -u) && [ "$more" != "$found" ]; do found=$more; done
    place="$servers/$name.new"
    rm -rf "$place"
    mkdir -p "$place/root"
    # shellcheck disable=SC2086 # a list of words
    (cd "$apt/archives" && apt-get -c "$apt/apt.conf" -qq download "$package" $found >/dev/null)
    local deb
    for deb in "$apt"/archives/*.deb; do dpkg-deb -x "$deb" "$place/root" && rm "$deb"; done
    # Debian 12 still has them outside of usr/.
    loader=$(cd "$place/root" && find . -type f -name 'ld-linux*.so.*' | sort | head -n 1)
    libc=$(cd "$place/root" && find . -type f -name libc.so.6 | sort | head -n 1)
    libc=${libc%/*}
    libc=${libc#./}
    libc=${libc#usr/}
    rm -rf "$place/root/usr/share" "$place/root/etc" "$place/root/var"
    # The server and its checkers are one program, which looks at the name it was called by.
    cat >"$place/$name-server" <<EOF
#!/bin/sh
root=\$(cd "\${0%/*}" && pwd)/root
exec "\$root/${loader#./}" --argv0 $name-server --library-path "\$root/usr/$libc:\$root/$libc" "\$root/usr/bin/$name-check-rdb" "\$@"
EOF
    chmod 755 "$place/$name-server"
    rm -rf "${servers:?}/$name"
    mv "$place" "$servers/$name"
    say "newer-servers: $("$servers/$name/$name-server" --version)"
}

want=$(missing)
if [ -z "$want" ]; then exit 0; fi
if has apt-get && has dpkg-deb && [ -e "$keyring" ]; then
    # shellcheck disable=SC2086 # a list of words
    say "newer-servers: some 30 MB of packages, once:" $want
    apt=$(mktemp -d)
    trap 'rm -rf "$apt"' EXIT
    from=$(mirror)
    if [ -z "$from" ]; then
        if [ "$(id -u)" = 0 ]; then apt-get -qq update; else sudo -n apt-get -qq update || true; fi
        from=$(mirror)
    fi
    if [ -n "$from" ]; then
        write_apt_config "$from"
        apt-get -c "$apt/apt.conf" -qq update
        for name in $want; do unpack "$name"; done
    fi
fi
want=$(missing)
for name in $want; do
    min=${name}_min
    say "newer-servers: $name-server ${!min} or newer is missing; put the program, or a link to it, at"
    say "    ${servers#"$root"/}/$name/$name-server"
done
[ -z "$want" ]
