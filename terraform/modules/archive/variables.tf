variable "bucket" {
  description = "Name of the bucket, one in the world."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket must have 3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "prefix" {
  description = "Where in the bucket the archive begins; empty for the top. Without slashes at its ends."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$", var.prefix))
    error_message = "prefix must be words with / between them, and none at its ends."
  }
}

variable "allow_delete" {
  description = "Whether service accounts may delete originals: with the chart's delete (docs/delete.md)."
  type        = bool
  default     = false
}

variable "noncurrent_days" {
  description = "Days for which what was deleted or replaced can be had back."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "noncurrent_days must be 1 at least."
  }
}

variable "intelligent_tiering_days" {
  description = "Days after which objects move to Intelligent-Tiering; null for never. Objects stay readable at once."
  type        = number
  default     = null
}

variable "deletion_protection" {
  description = "Whether the bucket can be destroyed only when it is empty."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "Key that objects are encrypted with."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
