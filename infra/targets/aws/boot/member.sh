# First boot of a member: attach what is its own, take the roles, prove health, and only then join the group.
finish() {
    aws autoscaling complete-lifecycle-action --auto-scaling-group-name "$HYBRID_GROUP" \
        --lifecycle-hook-name ready --instance-id "$(metadata instance-id)" --lifecycle-action-result "$1"
}
trap 'say "failed in line $LINENO"; finish ABANDON || true' ERR

attach_data_volume() {
    local device="/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${HYBRID_VOLUME/-/}"
    # Our predecessor may still be letting go of it.
    try 600 attached_here
    try 120 test -b "$device"
    make_file_system_once "$device"
    mkdir -p /srv/data
    grep -q ' /srv/data ' /etc/fstab || echo "$device /srv/data ext4 defaults,nodev,nosuid,nofail,x-systemd.device-timeout=60 0 2" >>/etc/fstab
    mountpoint --quiet /srv/data || mount /srv/data
    # A volume that grew in Pulumi grows here with the next root.
    resize2fs "$device" >/dev/null 2>&1 || say "the file system on $device keeps its size"
}

# A file system is made once in the life of a volume: where nothing was ever written. What cannot be read, or has
# something on it that nobody knows, is left as it is, and the launch is abandoned when it cannot be mounted.
make_file_system_once() {
    if cmp --silent --bytes=$((8 * 1024 * 1024)) "$1" /dev/zero; then
        mkfs.ext4 -q -L data "$1"
    fi
}

attached_here() {
    local here holder
    here=$(metadata instance-id)
    holder=$(aws ec2 describe-volumes --volume-ids "$HYBRID_VOLUME" --query 'Volumes[0].Attachments[0].InstanceId' --output text)
    [[ $holder == "$here" ]] && return
    aws ec2 attach-volume --volume-id "$HYBRID_VOLUME" --instance-id "$here" --device /dev/sdf >/dev/null
}

say "first boot of $HYBRID_MEMBER"
use_package_snapshot
install_agents
install_ansible
[[ -z $HYBRID_VOLUME ]] || attach_data_volume
fetch_bundle
if [[ $HYBRID_GOLDEN == no ]]; then
    # Until a golden image is promoted the root is plain Debian: the roles of the image run here instead.
    play infra/targets/aws/boot/unsealed.yml
fi
play playbooks/vm_tier.yml
try 600 healthy
finish CONTINUE
echo "$HYBRID_MEMBER" >"$hybrid_home/member"
# Its packages are of today's snapshot, or of the last image's; the first window comes within a week.
touch "$hybrid_home/patched"
report_patching
say "$HYBRID_MEMBER serves"
