# Apply what runs inside the cluster: the storage class, the autoscaler, then the collection's playbooks.
# Started when images or the cluster are new; whichever comes second finds the other one there.
export AWS_DEFAULT_REGION=$HYBRID_REGION
work=$(mktemp -d)
cd "$work"

parameter() { aws ssm get-parameter --name "$HYBRID_PATH/$1" --query Parameter.Value --output text 2>/dev/null; }
if ! parameter cluster >/dev/null || ! autoscaler=$(parameter "images/$HYBRID_AUTOSCALER"); then
    echo "the cluster or its images are not ready yet; the event that says so starts this job again"
    exit 0
fi

python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
curl -fsS "$HYBRID_PACKAGES/ansible/python$python.tar" | tar --extract
python3 -m venv ansible
ansible/bin/pip install --quiet --no-index --find-links wheels --require-hashes --requirement wheels/requirements.txt

aws s3 cp --only-show-errors "s3://$HYBRID_BUCKET/bundle/$(parameter bundle).tar.gz" - | tar --extract --gzip
mkdir -p .tools/collections/ansible_collections/hybrid
ln -s ../../../.. .tools/collections/ansible_collections/hybrid/platform
aws s3 cp --only-show-errors "s3://$HYBRID_BUCKET/inventory.json" inventory.json

export KUBECONFIG=$work/kubeconfig
aws eks update-kubeconfig --name "$HYBRID_CLUSTER" --kubeconfig "$KUBECONFIG" >/dev/null
sed -e "s|@IMAGE@|$autoscaler|; s|@CLUSTER@|$HYBRID_CLUSTER|; s|@REGION@|$HYBRID_REGION|" \
    infra/targets/aws/jobs/cluster-autoscaler.yaml >autoscaler.yaml
kubectl apply --server-side --force-conflicts --filename infra/targets/aws/jobs/storage-class.yaml --filename autoscaler.yaml

umask 077
# Images by digest and passwords by workload: {"cluster_images": {...}, "cluster_passwords": {"ledger": {"web": …}}}.
images=$(aws ssm get-parameters-by-path --path "$HYBRID_PATH/images" --recursive --query 'Parameters[].[Name,Value]' --output json |
    jq --compact-output --arg path "$HYBRID_PATH/images/" 'map({(.[0] | ltrimstr($path)): .[1]}) | add')
passwords='{}'
for workload in $HYBRID_DATABASES; do
    secret=$(aws secretsmanager get-secret-value --secret-id "$HYBRID_PATH/$workload" --query SecretString --output text)
    passwords=$(jq --compact-output --arg workload "$workload" --slurpfile secret <(echo "$secret") \
        '.[$workload] = $secret[0]' <<<"$passwords")
done
jq --null-input --argjson images "$images" --slurpfile passwords <(echo "$passwords") --argjson variables "$HYBRID_VARIABLES" \
    '$variables + {cluster_images: $images, cluster_passwords: $passwords[0]}' >variables.json
for playbook in cluster-services workloads; do
    ansible/bin/ansible-playbook --inventory inventory.json --inventory localhost, --extra-vars @variables.json \
        "playbooks/$playbook.yml"
done
rm variables.json
