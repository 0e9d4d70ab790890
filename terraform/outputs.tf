output "helm_values" {
  description = "Values for charts/pacsless: terraform output -raw helm_values > aws.yaml"
  value       = module.helm_values.yaml
}

output "cluster_name" {
  description = "For aws eks update-kubeconfig --name."
  value       = module.eks.name
}

output "namespace" {
  description = "Namespace to install the chart in: the roles are for service accounts there."
  value       = var.namespace
}

output "secret_arns" {
  description = "Secrets in AWS Secrets Manager, made empty: fill them as docs/terraform.md says."
  value       = module.secrets.arns
}

output "secrets_role_arn" {
  description = "Role of the service account that External Secrets reads them by."
  value       = module.secrets.role_arn
}

output "postgres" {
  description = "Host, port, database, and the secret with the master user, to make the user pacsless with."
  value = {
    host              = module.postgres.host
    port              = module.postgres.port
    database          = module.postgres.database
    master_secret_arn = module.postgres.master_secret_arn
  }
}

output "redis" {
  description = "Host and port; TLS."
  value       = { host = module.redis.host, port = module.redis.port }
}

output "archive_bucket" {
  description = "The bucket."
  value       = module.archive.bucket
}

output "archive_role_arns" {
  description = "Roles of the chart's service account and of the readers."
  value = merge(
    { (var.service_account) = module.pacsless_role.arn },
    { for name, role in module.reader_role : name => role.arn },
  )
}
