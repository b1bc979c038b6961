# Look at a machine that was started from the candidate: it must be a new machine, not a copy of the build machine.
# Image Builder starts two of these in the life of a candidate; none may bring an identity along.
fail() {
    say "the candidate is no golden image: $*"
    exit 1
}
[[ $(jq --raw-output .release /etc/golden-image.json) == "$HYBRID_RELEASE" ]] || fail "it is of another release"
# The suite that every golden image is held to; it is on board. Each line says what came along with the image.
/usr/lib/golden-image/hygiene.sh booted || fail "see above"
for key in /etc/ssh/ssh_host_*_key; do
    [[ $key -nt /etc/golden-image.json ]] || fail "$key was there before the first boot"
done
for user in /root /home/*; do
    [[ ! -s $user/.ssh/authorized_keys ]] || fail "$user/.ssh/authorized_keys lets somebody in"
done
[[ -z $(find / -xdev -name credentials -path '*/.aws/*' -print -quit) ]] || fail "credentials of AWS were left behind"
if compgen -G '/var/log/ansible*' >/dev/null; then fail "logs of the build were left behind"; fi
systemctl is-active --quiet amazon-ssm-agent || fail "the SSM agent does not run"
(("$(systemctl list-units --failed --no-legend | wc -l)" == 0)) || fail "units have failed: $(systemctl --failed --no-legend)"
say "the candidate passes"
