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
for document in inventory cluster; do
    aws s3 cp --only-show-errors "s3://$HYBRID_BUCKET/$document.json" "$document.json"
done

export KUBECONFIG=$work/kubeconfig
aws eks update-kubeconfig --name "$HYBRID_CLUSTER" --kubeconfig "$KUBECONFIG" >/dev/null
ansible/bin/ansible-playbook --inventory localhost, infra/targets/aws/jobs/prepare.yml \
    --extra-vars "kubeconfig=$KUBECONFIG autoscaler_image=$autoscaler cluster_name=$HYBRID_CLUSTER" \
    --extra-vars "region=$HYBRID_REGION volume_key=$HYBRID_KEY"

umask 077
# What is known only now, for variables.py: images by digest, authorities by machine, passwords by database.
mkdir found
for what in images authorities; do
    aws ssm get-parameters-by-path --recursive --path "$HYBRID_PATH/$what" \
        --query 'Parameters[].[Name,Value]' --output json >"found/$what.json"
done
for database in $(python3 -c 'import json; print(*json.load(open("cluster.json"))["databases"])'); do
    if ! aws secretsmanager get-secret-value --secret-id "$HYBRID_PATH/$database" --query SecretString \
        --output text >"found/$database.passwords.json"; then
        echo "$database has not made its passwords yet; its authority starts this job again"
        exit 0
    fi
done
python3 infra/targets/aws/jobs/variables.py found inventory.json "$KUBECONFIG" <cluster.json >variables.json
for playbook in cluster_services cluster_policies workloads; do
    ansible/bin/ansible-playbook --inventory localhost, --extra-vars @variables.json "playbooks/$playbook.yml"
done
rm -r found variables.json
