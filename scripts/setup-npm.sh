# shellcheck shell=bash
# What the npm package needs beside Node and a browser, sourced by setup.sh: the packages of its lock files, and a proxy.

npm_package=crates/redlatch-wasm/npm
setup_npm_packages() {
    if ! has webdis && can_install_packages; then
        apt_install webdis || say "setup: apt-get failed"
        as_root service webdis stop >/dev/null 2>&1 || true
        as_root update-rc.d webdis disable >/dev/null 2>&1 || true
    fi
    has webdis || miss webdis "the npm package is tested behind it; no service is needed" "$(hint webdis webdis webdis)"
}

# setup_npm_folder FOLDER: its node_modules are those of its lock file. No package runs a script of its own.
setup_npm_folder() {
    local folder=$1
    if cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed.json"; then return; fi
    say "setup: npm ci in $folder"
    if npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund >&2; then
        cp "$folder/package-lock.json" "$folder/node_modules/.installed.json"
    else
        miss "the npm packages of $folder" "they build and test the npm package" \
            "the message of npm above says why they could not be installed"
    fi
}

if has_node; then
    setup_npm_folder crates/redlatch-wasm/build
    setup_npm_folder "$npm_package"
    setup_npm_folder "$npm_package/test"
fi
setup_npm_packages
