module hybrid.platform/toolchain/kube-router

go 1.26

require github.com/cloudnativelabs/kube-router/v2 v2.6.3

replace github.com/cloudnativelabs/kube-router/v2 => github.com/k3s-io/kube-router/v2 v2.6.3-k3s1
