output "helm_values" {
  description = "Values for charts/pacsless: terraform output -raw helm_values > aws.yaml"
  value       = module.pacsless.helm_values
}

output "deployment" {
  description = "What else is needed to install the chart (docs/terraform.md)."
  value = {
    cluster_name      = module.pacsless.cluster_name
    namespace         = module.pacsless.namespace
    secret_arns       = module.pacsless.secret_arns
    secrets_role_arn  = module.pacsless.secrets_role_arn
    postgres          = module.pacsless.postgres
    redis             = module.pacsless.redis
    archive_bucket    = module.pacsless.archive_bucket
    archive_role_arns = module.pacsless.archive_role_arns
  }
}
