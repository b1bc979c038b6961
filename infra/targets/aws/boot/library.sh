# What first boot and every SSM document share. It begins with the HYBRID_* assignments that the program renders.
set -Eeuo pipefail
umask 077
export DEBIAN_FRONTEND=noninteractive AWS_DEFAULT_REGION="$HYBRID_REGION" HOME=/root

readonly hybrid_home=/opt/hybrid hybrid_run=/run/hybrid
mkdir -p "$hybrid_home" "$hybrid_run"

say() { echo "hybrid: $*"; }

# try SECONDS COMMAND...: again every five seconds, until it works or the time is over.
try() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        if ((SECONDS >= deadline)); then
            say "gave up: $*"
            return 1
        fi
        sleep 5
    done
}

metadata() {
    local token
    token=$(curl -fsS -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
    curl -fsS -H "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/latest/meta-data/$1"
}

# Packages come from the snapshot in our bucket, which only this VPC can read; Debian's own signatures hold.
use_package_snapshot() {
    local release keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
    cat >/etc/apt/sources.list.d/hybrid.sources <<SOURCES
Types: deb
URIs: $HYBRID_PACKAGES/debian
Suites: $release $release-updates
Components: main
Signed-By: $keyring

Types: deb
URIs: $HYBRID_PACKAGES/debian-security
Suites: $release-security
Components: main
Signed-By: $keyring
SOURCES
    # The snapshot has no translations, and S3 says 403 to what it does not have, which apt does not forgive like a 404.
    # Debian's own timers may be at the packages, too: wait for them.
    printf '%s\n' 'Acquire::Languages "none";' 'DPkg::Lock::Timeout "600";' >/etc/apt/apt.conf.d/90hybrid
    # In a new account the snapshot is being filled while the first machines boot; its signed indexes come last.
    try 3600 apt-get -qq --option APT::Update::Error-Mode=any update
}

install_agents() {
    apt-get -qq install --yes --no-install-recommends awscli curl e2fsprogs jq unzip python3-venv
    if ! command -v amazon-ssm-agent >/dev/null; then
        curl -fsS -o "$hybrid_run/agent.deb" "$HYBRID_PACKAGES/agents/amazon-ssm-agent.deb"
        dpkg --install "$hybrid_run/agent.deb"
        rm "$hybrid_run/agent.deb"
    fi
    systemctl enable --now amazon-ssm-agent
}

# Ansible in an environment of its own, from wheels that the lock file names by hash.
install_ansible() {
    [[ -x $hybrid_home/ansible/bin/ansible-playbook ]] && return
    local python
    python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    curl -fsS "$HYBRID_PACKAGES/ansible/python$python.tar" | tar --extract --directory "$hybrid_run"
    python3 -m venv "$hybrid_home/ansible"
    "$hybrid_home/ansible/bin/pip" install --quiet --no-index --find-links "$hybrid_run/wheels" \
        --require-hashes --requirement "$hybrid_run/wheels/requirements.txt"
    rm -r "$hybrid_run/wheels"
}

# The collection's playbooks and roles, of exactly the version that Pulumi deployed.
fetch_bundle() {
    local digest file=$hybrid_run/bundle.tar.gz
    digest=$(aws ssm get-parameter --name "$HYBRID_PATH/bundle" --query Parameter.Value --output text)
    aws s3 cp --only-show-errors "s3://$HYBRID_BUCKET/bundle/$digest.tar.gz" "$file"
    echo "$digest  $file" | sha256sum --check --quiet
    rm -rf "$hybrid_home/bundle.new"
    mkdir -p "$hybrid_home/bundle.new/.tools/collections/ansible_collections/hybrid"
    tar --extract --gzip --no-same-owner --directory "$hybrid_home/bundle.new" --file "$file"
    ln -s ../../../.. "$hybrid_home/bundle.new/.tools/collections/ansible_collections/hybrid/platform"
    rm -rf "$hybrid_home/bundle" "$file"
    mv "$hybrid_home/bundle.new" "$hybrid_home/bundle"
}

# play PLAYBOOK [ARGUMENT...]: run a playbook of the bundle on this machine alone, one at a time.
play() {
    local playbook=$1 inventory=$hybrid_run/inventory.json variables=$hybrid_run/variables.json
    shift
    # In a new platform it is written while the first machines boot.
    try 1800 aws s3 cp --only-show-errors "s3://$HYBRID_BUCKET/inventory/$HYBRID_WORKLOAD.json" "$inventory"
    (
        cd "$hybrid_home/bundle"
        flock --timeout 3600 9
        # Passwords stay nowhere, also when the play fails.
        trap 'rm -f "$variables"' EXIT
        passwords "$inventory" >"$variables"
        "$hybrid_home/ansible/bin/ansible-playbook" --inventory "$inventory" --limit "$HYBRID_MEMBER" \
            --extra-vars ansible_connection=local --extra-vars "@$variables" "$playbook" "$@"
    ) 9>"$hybrid_run/lock"
    publish_authority
}

# The certificate of the authority that a database made for itself, for its callers to trust.
publish_authority() {
    local file=$hybrid_home/authority.pem parameter=$HYBRID_PATH/authorities/$HYBRID_WORKLOAD/$HYBRID_MEMBER
    [[ -f $file ]] || return 0
    if [[ $(aws ssm get-parameter --name "$parameter" --query Parameter.Value --output text 2>/dev/null) != "$(<"$file")" ]]; then
        aws ssm put-parameter --overwrite --type String --name "$parameter" --value "file://$file" >/dev/null
    fi
}

# The passwords of this workload's callers, as Ansible variables. The first member to miss one makes it: no password
# is ever in a program, a state file or a log.
passwords() {
    local callers known caller
    callers=$(jq --raw-output --arg member "$HYBRID_MEMBER" '.all.hosts[$member].password_callers // [] | .[]' "$1")
    [[ -n $callers ]] || { echo '{}' && return; }
    known=$(aws secretsmanager get-secret-value --secret-id "$HYBRID_PATH/$HYBRID_WORKLOAD" --query SecretString \
        --output text 2>/dev/null || echo '{}')
    for caller in $callers; do
        if ! jq --exit-status --arg caller "$caller" 'has($caller)' <<<"$known" >/dev/null; then
            known=$(jq --compact-output --arg caller "$caller" \
                --rawfile word <(head -c 30 /dev/urandom | base64 --wrap 0 | tr '+/' '-_') '.[$caller] = $word' <<<"$known")
            echo "$known" >"$hybrid_run/secret.json"
            aws secretsmanager put-secret-value --secret-id "$HYBRID_PATH/$HYBRID_WORKLOAD" \
                --secret-string "file://$hybrid_run/secret.json" >/dev/null
            rm "$hybrid_run/secret.json"
        fi
    done
    jq '{postgresql_users: [to_entries[] | {name: .key, password: .value}]}' <<<"$known"
}

# How many days ago this machine was patched. An alarm watches this, and takes silence for the worst.
report_patching() {
    local days
    days=$((($(date +%s) - $(stat --format %Y "$hybrid_home/patched")) / 86400))
    aws cloudwatch put-metric-data --namespace Hybrid/Patching --metric-name DaysSincePatched --value "$days" \
        --dimensions "Platform=${HYBRID_PATH##*/},Member=$HYBRID_MEMBER"
}

# The gate that a member passes before its neighbour is touched: each port of its workload answers.
healthy() {
    local port address
    address=$(metadata local-ipv4)
    for port in $HYBRID_PORTS; do
        timeout 5 bash -c "exec 3<>/dev/tcp/$address/$port" 2>/dev/null || return 1
    done
}
