# gVisor on a sandboxed node, before the kubelet starts. A node without it does not join: a workload that was decided
# to run in a sandbox never runs beside one by accident, because its runtime class names the handler.
set -Eeuo pipefail
for program in runsc containerd-shim-runsc-v1; do
    curl --fail --silent --show-error --retry 30 --retry-delay 10 --retry-all-errors --remote-name-all \
        --output-dir /usr/local/bin "$HYBRID_PACKAGES/gvisor/$program" "$HYBRID_PACKAGES/gvisor/$program.sha512"
    (cd /usr/local/bin && sha512sum --check --quiet "$program.sha512")
    chmod 0755 "/usr/local/bin/$program"
done
