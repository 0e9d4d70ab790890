# Places in AWS Secrets Manager for what pods are told in secret, and a role of External
# Secrets that reads them and nothing else. They are filled by hand (docs/terraform.md):
# a value written by Terraform would stand in its state.

resource "aws_secretsmanager_secret" "this" {
  for_each = var.secrets

  name                    = "${var.name}/${each.key}"
  description             = each.value
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.deletion_protection ? 30 : 0
  tags                    = var.tags
}

data "aws_iam_policy_document" "read" {
  statement {
    sid       = "Read"
    actions   = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
    resources = [for one in aws_secretsmanager_secret.this : one.arn]
  }

  statement {
    sid       = "Decrypt"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]
  }
}

module "reader" {
  source = "../service-account-role"

  name              = "${var.name}-external-secrets"
  oidc_provider_arn = var.oidc_provider_arn
  oidc_issuer       = var.oidc_issuer
  namespace         = var.namespace
  service_account   = var.service_account
  policies          = { read-secrets = data.aws_iam_policy_document.read.json }
  tags              = var.tags
}
