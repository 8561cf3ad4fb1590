# shellcheck shell=bash
# What the npm package needs, sourced by setup.sh: Node, the packages of its lock files, a proxy, a browser.

npm_package=crates/redlatch-wasm/npm
node_min=20.19

has_node() {
    has npm && has node &&
        [ "$(node --version | tr -d v | printf '%s\n%s\n' "$node_min" "$(cat)" | sort -V | head -n1)" = "$node_min" ]
}

has_chromium() {
    [ -n "${REDLATCH_CHROMIUM:-}" ] || has chromium || has chromium-browser || has google-chrome
}

setup_npm_packages() {
    local packages=""
    has webdis || packages="$packages webdis"
    has_chromium || packages="$packages chromium"
    if [ -n "$packages" ] && can_install_packages; then
        # shellcheck disable=SC2086 # a list of words
        apt_install $packages || say "setup: apt-get failed"
        case "$packages" in *webdis*)
            as_root service webdis stop >/dev/null 2>&1 || true
            as_root update-rc.d webdis disable >/dev/null 2>&1 || true ;;
        esac
    fi
    has webdis || miss webdis "the npm package is tested behind it; no service is needed" "$(hint webdis webdis webdis)"
    has_chromium || miss Chromium "the npm package is tested in a browser" "$(hint chromium chromium chromium)"
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
else
    miss "Node $node_min or newer, with npm" "it builds and runs the npm package" "see nodejs.org"
fi
setup_npm_packages
