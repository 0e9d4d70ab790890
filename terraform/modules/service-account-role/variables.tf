variable "name" {
  description = "Name of the role."
  type        = string

  validation {
    condition     = length(var.name) <= 64
    error_message = "name must have 64 characters at most, as IAM wants it."
  }
}

variable "oidc_provider_arn" {
  description = "The cluster's provider of identities."
  type        = string
}

variable "oidc_issuer" {
  description = "Its issuer, without https://."
  type        = string
}

variable "namespace" {
  description = "Namespace of the service account."
  type        = string
}

variable "service_account" {
  description = "Name of the service account; no pattern."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", var.service_account))
    error_message = "service_account must be a name of Kubernetes: lower-case letters, digits, - and ."
  }
}

variable "policy_arns" {
  description = "Managed policies of the role; their ARNs are known at plan."
  type        = list(string)
  default     = []
}

variable "policies" {
  description = "Policies of its own, by name: JSON."
  type        = map(string)
  default     = {}
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
