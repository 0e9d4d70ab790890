variable "name" {
  description = "Name of the cache: 40 characters at most."
  type        = string

  validation {
    condition     = length(var.name) <= 40
    error_message = "name must have 40 characters at most, as ElastiCache wants it."
  }
}

variable "vpc_id" {
  description = "VPC of the cache."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets."
  type        = list(string)
}

variable "client_security_group_id" {
  description = "Security group of those who may connect."
  type        = string
}

variable "node_type" {
  description = "Type of the nodes, as cache.t4g.small."
  type        = string

  validation {
    condition     = startswith(var.node_type, "cache.")
    error_message = "node_type must be one of ElastiCache's, as cache.t4g.small."
  }
}

variable "nodes" {
  description = "Nodes; from 2 on, another one takes over if the first fails."
  type        = number
  default     = 2

  validation {
    condition     = var.nodes >= 1 && var.nodes <= 6
    error_message = "nodes must be 1 to 6."
  }
}

variable "kms_key_arn" {
  description = "Key that the nodes' disks are encrypted with."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
