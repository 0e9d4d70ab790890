"""The fault harness: the whole stack, killed part by part under load, ends up exact.

``python -m tests.faults`` runs it. Each round, senders store instances of two
tenants and write down what was acknowledged (`load`), events that nobody can
handle are put among the others (`poison`), and parts are killed (`strikes`).
When everything is quiet again (`system`), `checks` holds files, index,
documents, warehouse, topics and answers against the senders' ledger. In the
end all topics are handled again from their start (`replay`).
"""
