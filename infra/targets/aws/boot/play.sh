# Bring a member to the current bundle, or patch it; what SSM runs.
needs_reboot() {
    [[ -e /run/reboot-required || $(linux-version list | linux-version sort | tail -n 1) != "$(uname -r)" ]]
}

if [[ ! -e $hybrid_home/member ]]; then
    say "first boot is not over; it takes the current bundle by itself"
    exit 0
fi
fetch_bundle
play "$HYBRID_PLAYBOOK"
# Ansible cannot reboot the machine that it runs on; SSM can: by 194 it restarts it, and runs this script once more.
# Only in the window: a daily run that finds a newer kernel leaves it alone.
if [[ $HYBRID_PLAYBOOK == playbooks/patch.yml ]] && needs_reboot; then
    say "$HYBRID_MEMBER reboots"
    exit 194
fi
try 600 healthy
[[ $HYBRID_PLAYBOOK != playbooks/patch.yml ]] || touch "$hybrid_home/patched"
report_patching
say "done: $HYBRID_PLAYBOOK on $HYBRID_MEMBER"
