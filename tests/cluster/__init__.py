"""The cluster test bed: a real Kubernetes on this machine, made of packages (README.md)."""
