#!/bin/sh
# Looks for what a golden image must not have: whatever belongs to one machine, to a person, or to the build.
#
#   hygiene.sh sealed    in the image itself: a mounted root (by chroot), before any boot
#   hygiene.sh booted    on a machine that was started from it: only what came along with the image counts
#
# Every image has it in /usr/lib/golden-image, so that a machine can be looked at wherever it was started.
# Prints a line `rule: what was found` for each thing, and fails if there is one. It knows nothing of the role's own
# list of what to remove, so what is missing there is found here. Needs nothing but sh, find, grep, awk and xargs.
set -u
state=${1:-}
description=/etc/golden-image.json
case $state in
    sealed) since='' ;;
    booted) since="! -newer $description" ;; # what is newer was made by this machine
    *) echo "usage: $0 sealed|booted" >&2 && exit 2 ;;
esac
homes=$(awk -F: '$6 ~ /^\/(root|home|srv|var|opt)/ {print $6}' /etc/passwd | sort -u)
found=0

tell() { # RULE: each line of the input is something found
    while IFS= read -r line; do
        printf '%s: %s\n' "$1" "$line"
    done
}

files() { # PATHS... -- EXPRESSION...: files below paths that may not be there
    paths=
    while [ "$1" != -- ]; do
        [ ! -e "$1" ] || paths="$paths $1"
        shift
    done
    shift
    # shellcheck disable=SC2086
    [ -z "$paths" ] || find $paths -xdev "$@" $since -print 2>/dev/null
}

only_when_sealed() { [ "$state" = sealed ]; }

machine_identity() {
    if only_when_sealed; then
        [ -f /etc/machine-id ] || echo "/etc/machine-id is missing: a read-only root would never get one"
        [ ! -s /etc/machine-id ] || echo /etc/machine-id
        [ ! -s /etc/hostname ] || echo "/etc/hostname names the builder"
    else
        grep -Eqx '[0-9a-f]{32}' /etc/machine-id || echo "/etc/machine-id was not made at the first boot"
    fi
    files /var/lib/dbus/machine-id /etc/hostid /var/lib/NetworkManager/secret_key /etc/iscsi/initiatorname.iscsi \
        /etc/udev/rules.d/70-persistent-net.rules /var/lib/libuuid /etc/ssh/ssh_host_key -- -type f
}

host_keys() { files /etc/ssh -- -name 'ssh_host_*'; }

private_keys() {
    files /etc /root /home /opt /srv /var -- -type f -size -64k ! -path '/etc/ssh/ssh_host_*' ! -path '/var/lib/dpkg/*' |
        tr '\n' '\0' | xargs -0 -r grep -lE -e '-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----'
}

random_seed() {
    files /var/lib/systemd/random-seed /var/lib/urandom /boot/loader/random-seed /boot/efi/loader/random-seed \
        /efi/loader/random-seed /var/lib/systemd/credential.secret -- -type f
}

logs() { files /var/log -- -type f -size +0; }

histories() {
    # shellcheck disable=SC2086
    files $homes /etc/skel -- \( -name '.*_history' -o -name .lesshst -o -name .viminfo -o -name .wget-hsts \
        -o -name .sudo_as_admin_successful -o -name '.*_hist' \)
}

package_caches() {
    only_when_sealed || return 0
    files /var/cache/apt -- -type f ! -name lock
    files /var/lib/apt/lists -- -type f ! -name lock
}

cloud_state() { files /var/lib/cloud /var/lib/waagent -- ! -type d; }

temporary_files() {
    files /tmp /var/tmp /var/crash /var/lib/systemd/coredump -- ! -type d
    if only_when_sealed; then files /run -- ! -type d; fi
}

access() {
    # shellcheck disable=SC2086
    files $homes /home /etc/ssh -- -type f -name 'authorized_keys*' -size +0
    awk -F: '$2 == "" {print $1 " needs no password"} $2 ~ /^[^!*]/ {print $1 " has a password"}' /etc/shadow
}

credentials() {
    # shellcheck disable=SC2086
    files $homes -- \( -name .netrc -o -name .git-credentials -o -name .pgpass -o -path '*/.aws/credentials' \
        -o -path '*/.docker/config.json' -o -path '*/.kube/config' -o -path '*/.ssh/id_*' \)
    files /etc/apt/auth.conf /etc/apt/auth.conf.d -- -type f -size +0
}

build_leftovers() {
    if only_when_sealed; then
        # A link to what a service writes anew at each boot is no leftover.
        case $(readlink -m /etc/resolv.conf) in
        /run/*) ;;
        *) grep -H '^nameserver' /etc/resolv.conf 2>/dev/null ;;
        esac
        files /etc -- -maxdepth 1 -name '.resolv.conf.*'
        # Nothing can start in a chroot, and on a machine everything must.
        files /usr/sbin/policy-rc.d -- -name policy-rc.d
    elif [ -e /usr/sbin/policy-rc.d ]; then
        echo /usr/sbin/policy-rc.d
    fi
    # shellcheck disable=SC2086
    files $homes -- \( -name .ansible -o -name .cache -o -name .config \)
    files /etc/dpkg/dpkg.cfg.d -- -type f -exec grep -q force-unsafe-io {} \;
    files /etc/apt/apt.conf.d /etc/apt/apt.conf -- -type f -exec grep -qi '::proxy' {} \;
    files /etc -- -type f \( -name '*.dpkg-*' -o -name '*.ucf-*' -o -name '*.rej' \)
    files /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/.pwd.lock -- -type f
    files /var/backups /var/mail /var/spool/mail /var/spool/cron/crontabs -- -type f
}

leases() {
    files /var/lib/dhcp /var/lib/dhcpcd /var/lib/NetworkManager /var/lib/systemd/timesync /var/lib/systemd/timers \
        /var/lib/chrony -- -type f -size +0
}

[ -f $description ] || { echo "description: there is no $description" && exit 1; }
for rule in machine_identity host_keys private_keys random_seed logs histories package_caches cloud_state \
    temporary_files access credentials build_leftovers leases; do
    lines=$($rule)
    [ -z "$lines" ] || { printf '%s\n' "$lines" | tell $rule && found=1; }
done
exit $found
