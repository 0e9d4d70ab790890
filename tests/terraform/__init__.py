"""Terraform, applied to moto: `make terraform-test`."""
