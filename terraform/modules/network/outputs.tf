output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "cidr" {
  description = "Its addresses."
  value       = aws_vpc.this.cidr_block
}

output "private_subnet_ids" {
  description = "Private subnets, one for each zone, in the zones' order."
  value       = [for zone in local.zones : aws_subnet.private[zone].id]
}
