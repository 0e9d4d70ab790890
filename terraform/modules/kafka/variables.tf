variable "name" {
  description = "Name of the Kafka cluster."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the brokers."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, one for each broker: 2 or 3. With 3, records are acknowledged by 2."
  type        = list(string)

  validation {
    condition     = contains([2, 3], length(var.subnet_ids))
    error_message = "subnet_ids must have 2 or 3 subnets."
  }
}

variable "client_security_group_id" {
  description = "Security group of those who may talk to the brokers."
  type        = string
}

variable "kafka_version" {
  description = "Version of Kafka that MSK has, as 3.8.x."
  type        = string
  default     = "3.8.x"
}

variable "instance_type" {
  description = "Type of the brokers, as kafka.m7g.large."
  type        = string

  validation {
    condition     = startswith(var.instance_type, "kafka.")
    error_message = "instance_type must be one of MSK's, as kafka.m7g.large."
  }
}

variable "storage_gb" {
  description = "Disk of each broker in GB."
  type        = number
  default     = 100
}

variable "log_retention_days" {
  description = "Days that the brokers' logs are kept."
  type        = number
  default     = 90
}

variable "kms_key_arn" {
  description = "Key that records and logs are encrypted with."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
