output "host" {
  description = "Host name."
  value       = aws_db_instance.this.address
}

output "port" {
  description = "Port."
  value       = aws_db_instance.this.port
}

output "database" {
  description = "Name of the database."
  value       = aws_db_instance.this.db_name
}

output "master_secret_arn" {
  description = "Secret in AWS Secrets Manager with the master user's name and password, which AWS changes every week: to make the user pacsless with, not to run with."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}
