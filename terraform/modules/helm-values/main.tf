# Values of charts/pacsless. No secret: where one is needed, the name of a Kubernetes
# Secret that is there already.

locals {
  doris = {
    source         = var.doris == null ? "embedded" : "external"
    frontEnd       = one(var.doris[*].front_end)
    mysql          = one(var.doris[*].mysql)
    redirectHosts  = one(var.doris[*].redirect_hosts)
    database       = one(var.doris[*].database)
    user           = one(var.doris[*].user)
    existingSecret = var.doris == null ? null : var.secret_names.doris
    # EKS marks no class as the default.
    embedded = var.doris == null ? { storage = { storageClass = var.storage_class } } : null
  }

  values = {
    profile = "production"
    delete  = var.allow_delete

    serviceAccount = {
      create      = true
      name        = var.service_account
      annotations = { "eks.amazonaws.com/role-arn" = var.role_arn }
    }

    # DICOM is for the hospital's network, so its load balancer gets private addresses.
    gateway = {
      spool = { storageClass = var.storage_class }
      service = {
        annotations = {
          "service.beta.kubernetes.io/aws-load-balancer-internal" = "true"
          "service.beta.kubernetes.io/aws-load-balancer-scheme"   = "internal"
          "service.beta.kubernetes.io/aws-load-balancer-type"     = "nlb"
        }
      }
    }

    archive = {
      source = "s3"
      s3 = {
        bucket = var.archive.bucket
        prefix = var.archive.prefix
        region = var.region
      }
    }

    kafka = {
      source           = "external"
      bootstrapServers = var.kafka_bootstrap_servers
      tls              = true
    }

    postgres = {
      source         = "external"
      existingSecret = var.secret_names.postgres
    }

    redis = {
      source         = "external"
      existingSecret = var.secret_names.redis
    }

    doris = { for name, value in local.doris : name => value if value != null }
  }
}
