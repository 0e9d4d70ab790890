# To try it: two zones, the smallest of everything, nothing that resists being destroyed.

variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"
}

variable "public_access_cidrs" {
  description = "Networks that may reach Kubernetes' API from the internet, as your office's."
  type        = list(string)
  default     = []
}

module "pacsless" {
  source = "../.."

  name                = "pacsless-dev"
  deletion_protection = false
  log_retention_days  = 7

  network = {
    availability_zones   = 2
    nat_gateway_per_zone = false
  }

  kubernetes = {
    public_access_cidrs = var.public_access_cidrs
    nodes = {
      instance_types = ["m7i.large"]
      min            = 2
      max            = 4
    }
  }

  kafka    = { instance_type = "kafka.t3.small", storage_gb = 20 }
  postgres = { instance_class = "db.t4g.medium", storage_gb = 20, max_storage_gb = 50, multi_az = false, backup_days = 1 }
  redis    = { node_type = "cache.t4g.micro", nodes = 1 }
  archive  = { allow_delete = true, noncurrent_days = 1 }

  tags = { environment = "dev" }
}
