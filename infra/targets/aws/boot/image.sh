# Make the machine of a golden-image build into the image; what Image Builder runs.
use_package_snapshot
install_agents
install_ansible
fetch_bundle
(
    cd "$hybrid_home/bundle"
    "$hybrid_home/ansible/bin/ansible-playbook" --inventory 'image,' --connection local playbooks/golden_image.yml \
        --extra-vars "golden_image_name=$HYBRID_NAME golden_image_release=$HYBRID_RELEASE golden_image_lifetime_days=$HYBRID_LIFETIME" \
        --extra-vars "golden_image_manifest_destination=/usr/share/doc/golden-image.json" \
        --extra-vars '{"hardening_time_servers": ["169.254.169.123"]}'
)
rm -rf "$hybrid_run" "$hybrid_home/bundle"
