"""The Storage SCP: C-STORE in, durable files and CloudEvents out."""
