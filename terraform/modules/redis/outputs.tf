output "host" {
  description = "Host name of the node that writes."
  value       = aws_elasticache_replication_group.this.primary_endpoint_address
}

output "port" {
  description = "Port, with TLS."
  value       = aws_elasticache_replication_group.this.port
}
