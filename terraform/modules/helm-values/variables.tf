variable "region" {
  description = "Region of the bucket."
  type        = string
}

variable "archive" {
  description = "Bucket, and where in it."
  type        = object({ bucket = string, prefix = string })
}

variable "allow_delete" {
  description = "Whether DELETE of DICOMweb deletes."
  type        = bool
}

variable "service_account" {
  description = "Name of the chart's service account."
  type        = string
}

variable "role_arn" {
  description = "Its role."
  type        = string
}

variable "storage_class" {
  description = "StorageClass of the gateways' spools; to be an encrypted one."
  type        = string
}

variable "kafka_bootstrap_servers" {
  description = "Brokers, host:port, with TLS."
  type        = list(string)
}

variable "secret_names" {
  description = "Names of Kubernetes Secrets: postgres and redis with the key url, doris with the key password."
  type        = object({ postgres = string, redis = string, doris = string })
}

variable "doris" {
  description = "Apache Doris; null for the chart's stand-in."
  type = object({
    front_end      = string
    mysql          = string
    redirect_hosts = list(string)
    database       = string
    user           = string
  })
}
