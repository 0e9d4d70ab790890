output "arn" {
  description = "The Kafka cluster."
  value       = aws_msk_cluster.this.arn
}

output "bootstrap_servers" {
  description = "Brokers, host:port, with TLS; sorted, as MSK names them in any order."
  value       = sort(split(",", aws_msk_cluster.this.bootstrap_brokers_tls))
}
