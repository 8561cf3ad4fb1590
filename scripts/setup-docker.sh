# shellcheck shell=bash
# The part of setup.sh that gets containers: an engine, and the image of the live harness. Sourced by it.

engine_log="$root/target/dockerd.log"
engine_patience=60 # seconds; it takes two or three

has_engine() { has docker && timeout 20 docker info >/dev/null 2>&1; }
has_systemd() { [ -d /run/systemd/system ]; }

# Debian's dockerd is not in the PATH of everybody.
dockerd_path() { command -v dockerd || { [ -x /usr/sbin/dockerd ] && echo /usr/sbin/dockerd; }; }

# Where systemd runs it keeps the engine; elsewhere, as in a container, it runs in the background from now on.
start_engine() {
    local dockerd
    dockerd=$(dockerd_path)
    if has_systemd; then
        as_root systemctl start docker || return 1
    else
        say "setup: starting $dockerd in the background; its log is target/dockerd.log"
        mkdir -p "${engine_log%/*}"
        # The group may use its socket, so that nobody has to log in again.
        as_root setsid -f "$dockerd" --group "$(id -gn)" >"$engine_log" 2>&1 </dev/null
    fi
    local deadline=$((SECONDS + engine_patience))
    until has_engine; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

can_start_engine() {
    [ -n "$(dockerd_path)" ] || return 1
    [ "$(id -u)" = 0 ] || { has sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }
}

why_no_engine() {
    if has docker && docker info 2>&1 | grep -qi 'permission denied'; then
        echo "you may not use the engine: sudo usermod -aG docker $(id -un), then log in again"
    elif [ -s "$engine_log" ] && ! has_systemd; then
        echo "dockerd did not start; the end of target/dockerd.log: $(tail -n 1 "$engine_log")"
    elif has brew; then
        echo "brew install colima docker && colima start (or Docker Desktop)"
    else
        echo "install Docker (Debian: sudo apt-get install docker.io iptables) and start it: sudo dockerd"
    fi
}

setup_docker() {
    if has_engine; then return; fi
    # A client alone, without an engine, is of no use.
    if [ -z "$(dockerd_path)" ] && can_install_packages; then
        apt_install docker.io iptables || say "setup: apt-get failed"
    fi
    if can_start_engine; then start_engine || true; fi
    has_engine || miss "a Docker engine" "the live harness runs its servers in containers, too" "$(why_no_engine)"
}

setup_live_image() {
    has_engine || return 0
    scripts/live-image.sh || miss "the image of the live harness" "its containers have clocks of their own" \
        "the message above says why; scripts/live-image.sh builds it on Debian"
}

setup_docker
setup_live_image
