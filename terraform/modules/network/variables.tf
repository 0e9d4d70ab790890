variable "name" {
  description = "Name of the VPC, and prefix of what is in it."
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC: a /16, not used in the hospital's networks it will be joined to."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "cidr must be an IPv4 network with /16, as 10.42.0.0/16."
  }
}

variable "availability_zones" {
  description = "How many availability zones: 2 or 3."
  type        = number
  default     = 3

  validation {
    condition     = contains([2, 3], var.availability_zones)
    error_message = "availability_zones must be 2 or 3."
  }
}

variable "nat_gateway_per_zone" {
  description = "Whether each zone has a NAT gateway of its own, so that the loss of a zone cuts off no other."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Days that flow logs are kept."
  type        = number
  default     = 90
}

variable "kms_key_arn" {
  description = "Key the flow logs are encrypted with; CloudWatch Logs must be allowed to use it."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
