variable "name" {
  description = "Name of the cluster."
  type        = string
}

variable "kubernetes_version" {
  description = "Version of Kubernetes, as 1.34."
  type        = string

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version must have two numbers, as 1.34."
  }
}

variable "subnet_ids" {
  description = "Private subnets of nodes and API, in two zones at least."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids must have two subnets at least: EKS wants two zones."
  }
}

variable "public_access_cidrs" {
  description = "Networks that may reach the API from the internet; none for no public address."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.public_access_cidrs : can(cidrhost(one, 0)) && !endswith(one, "/0")])
    error_message = "public_access_cidrs must be IPv4 networks, and not the whole internet."
  }
}

variable "nodes" {
  description = "The managed nodes: instance types, AMI type (AL2023_ARM_64_STANDARD for Graviton), fewest, most, disk in GB."
  type = object({
    instance_types = list(string)
    ami_type       = optional(string, "AL2023_x86_64_STANDARD")
    min            = number
    max            = number
    disk_gb        = optional(number, 50)
  })

  validation {
    condition     = var.nodes.min >= 1 && var.nodes.max >= var.nodes.min && var.nodes.disk_gb >= 20
    error_message = "nodes must have min >= 1, max >= min and disk_gb >= 20."
  }
}

variable "log_retention_days" {
  description = "Days that logs of the control plane are kept."
  type        = number
  default     = 90
}

variable "kms_key_arn" {
  description = "Key that Kubernetes' Secrets and logs are encrypted with."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
