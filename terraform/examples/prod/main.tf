# For patients' data: three zones, two of everything, database and bucket refuse to be destroyed.

variable "region" {
  description = "AWS region."
  type        = string
}

variable "doris" {
  description = "Apache Doris: see the root module."
  type = object({
    front_end      = string
    mysql          = string
    redirect_hosts = list(string)
  })
}

module "pacsless" {
  source = "../.."

  name                = "pacsless-prod"
  deletion_protection = true
  log_retention_days  = 365

  network = { availability_zones = 3 }

  kubernetes = {
    nodes = {
      instance_types = ["m7i.2xlarge"]
      min            = 3
      max            = 12
      disk_gb        = 100
    }
  }

  kafka    = { instance_type = "kafka.m7g.large", storage_gb = 500 }
  postgres = { instance_class = "db.m7g.xlarge", storage_gb = 200, max_storage_gb = 2000, backup_days = 35 }
  redis    = { node_type = "cache.m7g.large", nodes = 2 }
  archive  = { noncurrent_days = 90, intelligent_tiering_days = 30 }
  doris    = var.doris

  tags = { environment = "prod" }
}
