# Bring a member to the current bundle, or patch it; what SSM runs.
if [[ ! -e $hybrid_home/member ]]; then
    say "first boot is not over; it takes the current bundle by itself"
    exit 0
fi
fetch_bundle
play "$HYBRID_PLAYBOOK"
try 600 healthy
# An alarm counts these lines.
say "done: $HYBRID_PLAYBOOK on $HYBRID_MEMBER"
