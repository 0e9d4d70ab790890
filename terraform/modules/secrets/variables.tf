variable "name" {
  description = "What the secrets' names begin with."
  type        = string
}

variable "secrets" {
  description = "Their names, and what they are for."
  type        = map(string)
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
  description = "Namespace of the service account that reads them."
  type        = string
}

variable "service_account" {
  description = "The service account that reads them."
  type        = string
}

variable "deletion_protection" {
  description = "Whether a deleted one can be had back for 30 days."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "Key that they are encrypted with."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
