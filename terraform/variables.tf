variable "name" {
  description = "Name of the deployment, and of what is made for it."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9]|-[a-z0-9]){1,29}$", var.name))
    error_message = "name must begin with a letter and have lower-case letters, digits and single hyphens, 30 at most."
  }
}

variable "namespace" {
  description = "Namespace of Kubernetes that the chart is installed in."
  type        = string
  default     = "pacsless"
}

variable "service_account" {
  description = "The chart's service account, which may store in the bucket."
  type        = string
  default     = "pacsless"
}

variable "readers" {
  description = "More service accounts, which may read the bucket, by a short name."
  type        = map(object({ namespace = string, service_account = string }))
  default     = {}
}

variable "network" {
  description = "The VPC: a /16, how many zones (2 or 3), whether each has a NAT gateway."
  type = object({
    cidr                 = optional(string, "10.42.0.0/16")
    availability_zones   = optional(number, 3)
    nat_gateway_per_zone = optional(bool, true)
  })
  default = {}
}

variable "kubernetes" {
  description = "EKS: version, who may reach its API from the internet (nobody, if not said), nodes."
  type = object({
    version             = optional(string, "1.34")
    public_access_cidrs = optional(list(string), [])
    nodes = object({
      instance_types = list(string)
      ami_type       = optional(string, "AL2023_x86_64_STANDARD")
      min            = number
      max            = number
      disk_gb        = optional(number, 50)
    })
  })
}

variable "kafka" {
  description = "MSK: version, type and disk of the brokers, of which each zone has one."
  type = object({
    version       = optional(string, "3.8.x")
    instance_type = string
    storage_gb    = optional(number, 100)
  })
}

variable "postgres" {
  description = "RDS: version, class, disk and up to where it grows, a second one that stands by, days of backups."
  type = object({
    version        = optional(string, "17")
    instance_class = string
    storage_gb     = optional(number, 50)
    max_storage_gb = optional(number, 500)
    multi_az       = optional(bool, true)
    backup_days    = optional(number, 14)
  })
}

variable "redis" {
  description = "ElastiCache: type and number of nodes."
  type = object({
    node_type = string
    nodes     = optional(number, 2)
  })
}

variable "archive" {
  description = "The bucket: its name (if not said, made of the deployment's and the account's), where in it, whether DICOMweb may delete, for how long what was deleted can be had back, when objects move to Intelligent-Tiering."
  type = object({
    bucket                   = optional(string)
    prefix                   = optional(string, "")
    allow_delete             = optional(bool, false)
    noncurrent_days          = optional(number, 30)
    intelligent_tiering_days = optional(number)
  })
  default = {}
}

variable "doris" {
  description = "Apache Doris, which is not made here: front end (http://host:8030), SQL (host:9030), back ends it redirects to. Null for the chart's stand-in, which is not for production."
  type = object({
    front_end      = string
    mysql          = string
    redirect_hosts = list(string)
    database       = optional(string, "pacsless")
    user           = optional(string, "pacsless")
  })
  default = null
}

variable "secret_names" {
  description = "Kubernetes Secrets that the chart is to use: postgres and redis with the key url, doris with the key password. They are not made here."
  type = object({
    postgres = optional(string, "pacsless-postgres")
    redis    = optional(string, "pacsless-redis")
    doris    = optional(string, "pacsless-doris")
  })
  default = {}
}

variable "storage_class" {
  description = "StorageClass of the gateways' spools, to be made with encryption (docs/terraform.md): they hold images on their way to the bucket."
  type        = string
  default     = "pacsless-encrypted"
}

variable "deletion_protection" {
  description = "Whether database, bucket, secrets and key resist being destroyed."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Days that logs in CloudWatch are kept."
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a number of days that CloudWatch has, as 30, 90, 365 or 3653."
  }
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
