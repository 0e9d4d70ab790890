"""The crash harness: what is acknowledged survives kill -9, a power cut and a full disk.

``python -m tests.crash`` runs it for long, ``tests/integration/test_crashes.py``
a short version of it. Senders keep a ledger of what they sent and were
answered (`load`); `checks` holds archive and topics against it:

- an acknowledged instance lies under its key, whole;
- one that was not acknowledged is absent or whole;
- nothing else is in the archive, and nothing is left among the incoming files;
- every instance in the archive is announced under one event id, and no other.
"""
