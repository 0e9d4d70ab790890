module pacsless/tests/cluster/knative-operator

go 1.22.0

require knative.dev/operator v0.42.2
