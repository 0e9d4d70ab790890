output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.id
}

output "arn" {
  description = "The bucket."
  value       = aws_s3_bucket.this.arn
}

output "prefix" {
  description = "Where in it the archive begins."
  value       = var.prefix
}

output "read_policy" {
  description = "Policy, JSON, of who reads."
  value       = data.aws_iam_policy_document.read.json
}

output "store_policy" {
  description = "Policy, JSON, of who reads and stores."
  value       = data.aws_iam_policy_document.store.json
}
