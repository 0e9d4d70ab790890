//go:build programs

// Package programs names what is built, so that go.mod holds what it needs: in the
// versions Kubernetes has, so that what both need is compiled once.
package programs

import _ "github.com/rancher/local-path-provisioner"
