# Build the workloads' images from the bundle, copy the mirrored ones, and write down what each digest is. Tags are
# digests as well and repositories are immutable, so what is already there is never pushed again.
export DEBIAN_FRONTEND=noninteractive GOTOOLCHAIN=auto GOFLAGS=-mod=readonly
apt-get -qq update
apt-get -qq install --yes --no-install-recommends awscli ca-certificates golang jq python3 skopeo >/dev/null
work=$(mktemp -d)
aws ssm get-parameter --name "$HYBRID_PATH/bundle" --query Parameter.Value --output text >"$work/digest"
aws s3 cp --only-show-errors "s3://$HYBRID_BUCKET/bundle/$(<"$work/digest").tar.gz" - | tar --extract --gzip --directory "$work"
aws ecr get-login-password | skopeo login --username AWS --password-stdin "${HYBRID_REGISTRY%%/*}"

aws s3 cp --only-show-errors "s3://$HYBRID_BUCKET/cluster.json" "$work/cluster.json"

# push NAME SOURCE: copy an image without changing a byte of it, and publish its digest.
push() {
    local name=$1 source=$2 digest
    # A new repository is made beside this job.
    for _ in {1..60}; do
        aws ecr describe-images --repository-name "${HYBRID_REGISTRY#*/}/$name" >/dev/null 2>&1 && break
        sleep 5
    done
    digest=$(skopeo inspect --raw "$source" | sha256sum)
    digest=${digest%% *}
    if ! skopeo inspect --raw "docker://$HYBRID_REGISTRY/$name@sha256:$digest" >/dev/null 2>&1; then
        skopeo copy --all --preserve-digests "$source" "docker://$HYBRID_REGISTRY/$name:$digest"
    fi
    aws ssm put-parameter --overwrite --type String --name "$HYBRID_PATH/images/$name" \
        --value "$HYBRID_REGISTRY/$name@sha256:$digest" >/dev/null
    echo "$name is sha256:$digest"
}

jq --raw-output '.images | to_entries[] | "\(.key) \(.value)"' "$work/cluster.json" >"$work/wanted"
while read -r workload image <&3; do
    if [[ $image == *@sha256:* ]]; then
        push "$workload" "docker://$image"
        continue
    fi
    PYTHONPATH=$work python3 - "$image" "$work" <<'PYTHON'
import sys
from pathlib import Path

from infra.targets.local.oci_image import build_image, compile_program

image, work = sys.argv[1], Path(sys.argv[2])
build_image(image, compile_program(work / "workloads", image, work / "built"), work / f"{image}.tar")
PYTHON
    push "$workload" "oci-archive:$work/$image.tar"
done 3<"$work/wanted"
for pair in $HYBRID_MIRRORED; do
    push "${pair%%=*}" "docker://${pair#*=}"
done
