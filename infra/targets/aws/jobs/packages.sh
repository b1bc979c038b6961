# Fill the package snapshot: for each release the packages that our machines can ask for, exactly as Debian signed
# them, the SSM agent, gVisor, and Ansible's wheels. Runs in a Debian container outside the VPC; machines only ever read S3.
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends awscli ca-certificates curl xz-utils python3-pip >/dev/null
work=$(mktemp -d)
chmod 0755 "$work" # for apt, which downloads as a user of its own

aws ssm get-parameter --name "$HYBRID_PATH/bundle" --query Parameter.Value --output text >"$work/digest"
aws s3 cp --only-show-errors "s3://$HYBRID_BUCKET/bundle/$(<"$work/digest").tar.gz" - | tar --extract --gzip --directory "$work"
list=$work/infra/targets/aws/jobs

# Debian's archive: the stack's mirror, or what apt of this job's own image is configured with.
configured() {
    # shellcheck disable=SC2016 # apt's own placeholders
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        awk -v security="$1" '($1 ~ /-security$/) == security && !found++ {print $2}'
}
main=${HYBRID_DEBIAN_MIRROR:-$(configured 0)} security=${HYBRID_DEBIAN_MIRROR:+${HYBRID_DEBIAN_MIRROR%/}-security}
main=${main%/} security=${security:-$(configured 1)}
security=${security%/}
echo "from $main and $security"

# Where a file lies in the snapshot. apt names and asks for what is special as %2b; S3, like any server, reads a plus.
place() {
    local path=debian/${1#"$main/"}
    [[ $1 == "$main/"* ]] || path=debian-security/${1#"$security/"}
    printf '%b' "${path//%/\\x}"
}

for release in $HYBRID_RELEASES; do
    # An apt of its own, with nothing installed: so that it names every package, down to the last dependency.
    root=$work/$release
    mkdir -p "$root/etc/apt/apt.conf.d" "$root/etc/apt/preferences.d" "$root/var/lib/apt/lists/partial" \
        "$root/var/cache/apt/archives/partial" "$root/var/lib/dpkg"
    touch "$root/var/lib/dpkg/status"
    cat >"$root/etc/apt/sources.list" <<SOURCES
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $main $release main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $main $release-updates main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $security $release-security main
SOURCES
    own=(-o "Dir=$root" -o "Dir::State::status=$root/var/lib/dpkg/status" -o APT::Architecture=amd64
        -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false -o Acquire::Languages=none -o Dir::Etc::trusted=/dev/null)
    apt-get "${own[@]}" -qq update
    grep -v '^#' "$list/packages.txt" >"$root/wanted"
    apt-cache "${own[@]}" dumpavail |
        awk '/^Package:/ {name = $2} /^Priority: (required|important|standard)$/ {print name}' >>"$root/wanted"
    # One at a time: some exclude each other, and some exist in one release only.
    sort -u "$root/wanted" | while read -r package; do
        apt-get "${own[@]}" --quiet=2 --print-uris --no-install-recommends install "$package" 2>/dev/null |
            awk -F"'" '/^\x27/ {print $2}' || echo "no $package in $release"
    done | sort -u >"$root/answers"
    grep -v :// "$root/answers" || true
    grep :// "$root/answers" >"$root/uris"
    while read -r uri; do
        path=$(place "$uri")
        mkdir -p "$work/mirror/${path%/*}"
        curl -fsS --retry 5 -o "$work/mirror/$path" "$uri"
    done <"$root/uris"
    # The very indexes that apt has just verified, whatever the archive has published since.
    for suite in "$release" "$release-updates" "$release-security"; do
        archive=$main here=debian/dists/$suite
        [[ $suite != *-security ]] || archive=$security here=debian-security/dists/$suite
        signed=$(compgen -G "$root/var/lib/apt/lists/*_dists_${suite}_InRelease")
        hash=$(awk '$1 == "SHA256:" {on = 1} on && $3 == "main/binary-amd64/Packages.xz" {print $1; exit}' "$signed")
        index=main/binary-amd64/by-hash/SHA256/$hash
        mkdir -p "$work/indexes/$here/${index%/*}"
        curl -fsS --retry 5 -o "$work/indexes/$here/$index" "$archive/dists/$suite/$index"
        cp "$signed" "$work/indexes/$here/InRelease"
    done
done

mkdir -p "$work/mirror/agents" "$work/mirror/ansible"
curl -fsS --retry 5 -o "$work/mirror/agents/amazon-ssm-agent.deb" \
    "https://amazon-ssm-$AWS_REGION.s3.$AWS_REGION.amazonaws.com/$HYBRID_SSM_AGENT/debian_amd64/amazon-ssm-agent.deb"
# gVisor for the sandboxed nodes, which have no way out either; checked against the digests published beside it.
mkdir -p "$work/mirror/gvisor"
for program in runsc containerd-shim-runsc-v1; do
    curl -fsS --retry 5 --remote-name --output-dir "$work/mirror/gvisor" \
        "https://storage.googleapis.com/gvisor/releases/release/$HYBRID_GVISOR/x86_64/{$program,$program.sha512}"
    (cd "$work/mirror/gvisor" && sha512sum --check --quiet "$program.sha512")
done
for python in $HYBRID_PYTHONS; do
    mkdir -p "$work/$python/wheels"
    cp "$list/requirements.txt" "$work/$python/wheels/"
    python3 -m pip download --quiet --dest "$work/$python/wheels" --python-version "$python" --only-binary :all: \
        --require-hashes --requirement "$list/requirements.txt"
    tar --create --directory "$work/$python" --file "$work/mirror/ansible/python$python.tar" wheels
done

# Packages first, indexes after them, what names the indexes last: a reader never meets a name without its file.
aws s3 sync --only-show-errors "$work/mirror" "s3://$HYBRID_PACKAGES_BUCKET"
aws s3 sync --only-show-errors --exclude '*/InRelease' "$work/indexes" "s3://$HYBRID_PACKAGES_BUCKET"
aws s3 sync --only-show-errors "$work/indexes" "s3://$HYBRID_PACKAGES_BUCKET"
