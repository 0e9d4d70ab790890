output "arns" {
  description = "The secrets by their names."
  value       = { for name, one in aws_secretsmanager_secret.this : name => one.arn }
}

output "role_arn" {
  description = "Role of the service account that reads them."
  value       = module.reader.arn
}
