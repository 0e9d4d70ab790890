variable "name" {
  description = "Name of the database's instance."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the database."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in two zones at least."
  type        = list(string)
}

variable "client_security_group_id" {
  description = "Security group of those who may connect."
  type        = string
}

variable "engine_version" {
  description = "Version of PostgreSQL, as 17; minor versions follow by themselves."
  type        = string
  default     = "17"

  validation {
    condition     = can(regex("^1[5-9]$", var.engine_version))
    error_message = "engine_version must be a major version from 15 on, as 17."
  }
}

variable "instance_class" {
  description = "Class of the instance, as db.m7g.large."
  type        = string

  validation {
    condition     = startswith(var.instance_class, "db.")
    error_message = "instance_class must be one of RDS's, as db.m7g.large."
  }
}

variable "storage_gb" {
  description = "Disk in GB."
  type        = number
  default     = 50
}

variable "max_storage_gb" {
  description = "Up to which it grows by itself."
  type        = number
  default     = 500
}

variable "multi_az" {
  description = "Whether a second one stands by in another zone."
  type        = bool
  default     = true
}

variable "backup_days" {
  description = "Days to which it can be set back; 1 at least."
  type        = number
  default     = 14

  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "backup_days must be 1 to 35."
  }
}

variable "deletion_protection" {
  description = "Whether it cannot be deleted, and leaves a snapshot if it is nevertheless."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Days that its log is kept."
  type        = number
  default     = 90
}

variable "kms_key_arn" {
  description = "Key that data, the master password and logs are encrypted with."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
