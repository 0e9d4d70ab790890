output "yaml" {
  description = "The file for helm install -f."
  value       = yamlencode(local.values)
}
