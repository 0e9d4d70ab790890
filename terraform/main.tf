# Pacsless on AWS: what charts/pacsless needs beside itself, but for Apache Doris.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  tags = merge({ "pacsless.org/deployment" = var.name }, var.tags)
  secrets = merge(
    {
      postgres = "Address of PostgreSQL for pods, with user and password"
      redis    = "Address of Redis for pods, with the password"
    },
    var.doris == null ? {} : { doris = "Password of Pacsless's user in Doris" },
  )
}

# One key for all that is kept; its policy lets CloudWatch Logs use it for our log groups.
data "aws_iam_policy_document" "key" {
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${data.aws_region.current.name}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:log-group:/aws/*/${var.name}*"]
    }
  }
}

resource "aws_kms_key" "this" {
  description             = "Pacsless ${var.name}: images, databases, records, secrets, logs"
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_protection ? 30 : 7
  policy                  = data.aws_iam_policy_document.key.json
  tags                    = local.tags
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

module "network" {
  source = "./modules/network"

  name                 = var.name
  cidr                 = var.network.cidr
  availability_zones   = var.network.availability_zones
  nat_gateway_per_zone = var.network.nat_gateway_per_zone
  log_retention_days   = var.log_retention_days
  kms_key_arn          = aws_kms_key.this.arn
  tags                 = local.tags
}

module "eks" {
  source = "./modules/eks"

  name                = var.name
  kubernetes_version  = var.kubernetes.version
  subnet_ids          = module.network.private_subnet_ids
  public_access_cidrs = var.kubernetes.public_access_cidrs
  nodes               = var.kubernetes.nodes
  log_retention_days  = var.log_retention_days
  kms_key_arn         = aws_kms_key.this.arn
  tags                = local.tags
}

module "kafka" {
  source = "./modules/kafka"

  name                     = var.name
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  client_security_group_id = module.eks.security_group_id
  kafka_version            = var.kafka.version
  instance_type            = var.kafka.instance_type
  storage_gb               = var.kafka.storage_gb
  log_retention_days       = var.log_retention_days
  kms_key_arn              = aws_kms_key.this.arn
  tags                     = local.tags
}

module "postgres" {
  source = "./modules/postgres"

  name                     = var.name
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  client_security_group_id = module.eks.security_group_id
  engine_version           = var.postgres.version
  instance_class           = var.postgres.instance_class
  storage_gb               = var.postgres.storage_gb
  max_storage_gb           = var.postgres.max_storage_gb
  multi_az                 = var.postgres.multi_az
  backup_days              = var.postgres.backup_days
  deletion_protection      = var.deletion_protection
  log_retention_days       = var.log_retention_days
  kms_key_arn              = aws_kms_key.this.arn
  tags                     = local.tags
}

module "redis" {
  source = "./modules/redis"

  name                     = var.name
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  client_security_group_id = module.eks.security_group_id
  node_type                = var.redis.node_type
  nodes                    = var.redis.nodes
  kms_key_arn              = aws_kms_key.this.arn
  tags                     = local.tags
}

module "archive" {
  source = "./modules/archive"

  bucket                   = coalesce(var.archive.bucket, "${var.name}-archive-${data.aws_caller_identity.current.account_id}")
  prefix                   = var.archive.prefix
  allow_delete             = var.archive.allow_delete
  noncurrent_days          = var.archive.noncurrent_days
  intelligent_tiering_days = var.archive.intelligent_tiering_days
  deletion_protection      = var.deletion_protection
  kms_key_arn              = aws_kms_key.this.arn
  tags                     = local.tags
}

# The chart's service account stores; others, as of a notebook, may read.
module "pacsless_role" {
  source = "./modules/service-account-role"

  name              = "${var.name}-archive-store"
  oidc_provider_arn = module.eks.oidc_provider_arn
  oidc_issuer       = module.eks.oidc_issuer
  namespace         = var.namespace
  service_account   = var.service_account
  policies          = { archive = module.archive.store_policy }
  tags              = local.tags
}

module "reader_role" {
  source   = "./modules/service-account-role"
  for_each = var.readers

  name              = "${var.name}-archive-read-${each.key}"
  oidc_provider_arn = module.eks.oidc_provider_arn
  oidc_issuer       = module.eks.oidc_issuer
  namespace         = each.value.namespace
  service_account   = each.value.service_account
  policies          = { archive = module.archive.read_policy }
  tags              = local.tags
}

module "secrets" {
  source = "./modules/secrets"

  name                = var.name
  secrets             = local.secrets
  oidc_provider_arn   = module.eks.oidc_provider_arn
  oidc_issuer         = module.eks.oidc_issuer
  namespace           = var.namespace
  service_account     = "${var.service_account}-secrets"
  deletion_protection = var.deletion_protection
  kms_key_arn         = aws_kms_key.this.arn
  tags                = local.tags
}

module "helm_values" {
  source = "./modules/helm-values"

  region                  = data.aws_region.current.name
  archive                 = { bucket = module.archive.bucket, prefix = module.archive.prefix }
  allow_delete            = var.archive.allow_delete
  service_account         = var.service_account
  role_arn                = module.pacsless_role.arn
  storage_class           = var.storage_class
  kafka_bootstrap_servers = module.kafka.bootstrap_servers
  secret_names            = var.secret_names
  doris                   = var.doris
}
