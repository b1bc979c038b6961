#!/bin/sh
# Bring this machine and checkout to where every other command works: Debian packages, .venv, links.
# Quick when there is nothing to do; two at once wait for each other.
#   --tests         also what only the tests need
#   --without-root  leave apt alone
set -eu
cd "$(dirname "$0")/.."

missing_packages() {
    grep -hv '^#' "$@" | while read -r package; do
        status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || echo "$package"
    done
}

install_debian_packages() {
    if ! command -v apt-get >/dev/null; then
        echo "setup: this is no Debian: there is no apt-get; the local platform needs Debian 12 or 13" >&2
        exit 1
    fi
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    echo "setup: installing Debian packages:" $missing
    if [ "$(id -u)" != 0 ]; then
        echo "setup: this needs root; run it as root, or install them yourself" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
    apt-get -qq -o DPkg::Lock::Timeout=300 update
    # shellcheck disable=SC2086
    apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends -y $missing >/dev/null
}

# The same mirror for uv that pip is configured with, and uv itself by its hash like everything else.
make_virtual_environment() {
    stamp=.venv/.requirements
    wanted=$(python3 --version; sha256sum requirements.txt)
    [ "$(cat $stamp 2>/dev/null)" != "$wanted" ] || return 0
    echo "setup: making .venv"
    # One whose making was interrupted, or whose Python was replaced, has a python without pip.
    .venv/bin/python -m pip --version >/dev/null 2>&1 || python3 -m venv --clear .venv
    awk '/^uv==/ {found=1} found {print} found && !/\\$/ {exit}' requirements.txt >.venv/uv.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
    index=$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)
    [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
    .venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes requirements.txt
    # What every command imports, compiled now rather than at each start.
    for package in ansible ansible_runner grpc google jinja2 pulumi pydantic yaml; do
        .venv/bin/python -m compileall -q -j 0 .venv/lib/*/site-packages/$package || true
    done
    echo "$wanted" >$stamp
}

# What lays out the report's picture; npm takes it by its hash.
install_layout() {
    stamp=infra/insight/layout/node_modules/.lock
    wanted=$(sha256sum infra/insight/layout/package-lock.json)
    [ "$(cat $stamp 2>/dev/null)" != "$wanted" ] || return 0
    echo "setup: installing the report's layout"
    PATH="$PWD/.venv/bin:$PATH" npm ci --silent --prefix infra/insight/layout
    echo "$wanted" >$stamp
}

make_links() {
    mkdir -p .tools/bin .tools/collections/ansible_collections/hybrid
    ln -sfn ../../toolchain/pulumi.py .tools/bin/pulumi
    ln -sfn ../../../.. .tools/collections/ansible_collections/hybrid/platform
}

mkdir -p .tools
exec 9>.tools/setup.lock
flock 9
case "${1:-}" in
    --without-root) ;;
    --tests) install_debian_packages toolchain/debian-packages.txt toolchain/debian-packages-test.txt ;;
    *) install_debian_packages toolchain/debian-packages.txt ;;
esac
make_virtual_environment
install_layout
make_links
