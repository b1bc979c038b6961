# Look at a machine that was started from the candidate: it must be a new machine, not a copy of the build machine.
# Image Builder starts two of these in the life of a candidate; none may bring an identity along.
fail() {
    say "the candidate is no golden image: $*"
    exit 1
}
[[ -s /etc/machine-id && $(</etc/machine-id) != uninitialized ]] || fail "it has got no machine id at its first boot"
[[ -f /etc/golden-image.json ]] || fail "it does not say what it is (/etc/golden-image.json)"
[[ $(jq --raw-output .release /etc/golden-image.json) == "$HYBRID_RELEASE" ]] || fail "it is of another release"
built=$(stat --format %Y /etc/golden-image.json)
for key in /etc/ssh/ssh_host_*_key; do
    [[ -f $key && $(stat --format %Y "$key") -gt $built ]] || fail "$key was there before the first boot"
done
for user in /root /home/*; do
    [[ ! -s $user/.ssh/authorized_keys ]] || fail "$user/.ssh/authorized_keys lets somebody in"
    [[ ! -e $user/.bash_history ]] || fail "$user/.bash_history tells about the build"
done
awk -F: '$2 !~ /^[!*]/ {bad = 1; print "hybrid: " $1 " has a password"} END {exit bad}' /etc/shadow || fail "passwords"
[[ -z $(find / -xdev -name credentials -path '*/.aws/*' -print -quit) ]] || fail "credentials of AWS were left behind"
if compgen -G '/var/log/ansible*' >/dev/null; then fail "logs of the build were left behind"; fi
systemctl is-active --quiet amazon-ssm-agent || fail "the SSM agent does not run"
(("$(systemctl list-units --failed --no-legend | wc -l)" == 0)) || fail "units have failed: $(systemctl --failed --no-legend)"
say "the candidate passes"
