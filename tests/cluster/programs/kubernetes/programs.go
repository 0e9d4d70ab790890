//go:build programs

// Package programs names what is built of Kubernetes, so that go.mod holds what it needs.
// k8s.io/kubernetes replaces its own staging modules by folders, which nobody who depends
// on it sees: go.mod replaces each by its release instead.
package programs

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-proxy"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
